#pragma once

// Session::Parts: a session's state, and what nghttp2 calls back. The calls that come
// from the application are in session.cc, those that come from nghttp2 in callbacks.cc.
//
// The only place that names nghttp2: include this instead.
//
// Thread: its session's.

#include <nghttp2/nghttp2.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "http2/frame_walk.h"
#include "http2/outgoing.h"
#include "http2/session.h"
#include "http2/stream.h"

namespace argosy::http2 {

inline std::uint8_t* bytes_of(std::string_view text) {
  return reinterpret_cast<std::uint8_t*>(const_cast<char*>(text.data()));
}

inline nghttp2_nv pair_of(const Header& header) {
  const auto flags = header.lasting ? NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE
                                    : static_cast<int>(NGHTTP2_NV_FLAG_NO_INDEX);
  return {bytes_of(header.name), bytes_of(header.value), header.name.size(), header.value.size(),
          static_cast<std::uint8_t>(flags)};
}

struct Session::Parts {
  Parts(Limits l, SessionEvents& e, BytesPool& p) : limits(l), events(e), outgoing(p), little(p) {}

  const Limits limits;
  SessionEvents& events;
  Outgoing outgoing;
  LittleWrites little;
  FrameWalk input{NGHTTP2_CLIENT_MAGIC_LEN};
  nghttp2_session* h2 = nullptr;
  const Bytes* receiving = nullptr;
  std::size_t budget = 0;
  std::vector<nghttp2_nv> pairs;
  std::vector<std::unique_ptr<Stream>> spare;  // closed streams, kept for their capacity
  std::vector<std::unique_ptr<Stream>> live;   // unordered
  std::uint32_t idle_frames = 0;
  bool draining = false;
  bool drain_announced = false;
  bool ending = false;  // terminate() was called: the connection ends with its GOAWAY,
  bool ended = false;   // which has been pulled
  bool dead = false;

  Stream* find(StreamId id) const { return static_cast<Stream*>(nghttp2_session_get_stream_user_data(h2, id)); }
  std::span<const nghttp2_nv> to_pairs(std::span<const Header> headers) {
    pairs.clear();
    for (const Header& header : headers) pairs.push_back(pair_of(header));
    return pairs;
  }
  void open(StreamId id);
  void close(Stream* stream, ErrorCode code);
  void resume(Stream& stream);
  void terminate(ErrorCode code, std::string_view reason);

  // From nghttp2; `user` is the Parts.
  void open_nghttp2();  // sets h2, with the limits announced
  static Parts& self(void* user) { return *static_cast<Parts*>(user); }
  static int begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* user);
  static int header(nghttp2_session*, const nghttp2_frame* frame, nghttp2_rcbuf* name, nghttp2_rcbuf* value,
                    std::uint8_t, void* user);
  static int frame_received(nghttp2_session*, const nghttp2_frame* frame, void* user);
  static int data_chunk(nghttp2_session*, std::uint8_t, std::int32_t id, const std::uint8_t* data, std::size_t size,
                        void* user);
  static int stream_close(nghttp2_session*, std::int32_t id, std::uint32_t code, void* user);
  static int frame_sent(nghttp2_session*, const nghttp2_frame* frame, void* user);
  static nghttp2_ssize read(nghttp2_session*, std::int32_t, std::uint8_t*, std::size_t length, std::uint32_t* flags,
                            nghttp2_data_source* source, void* user);
  static int send_data(nghttp2_session*, nghttp2_frame*, const std::uint8_t* head, std::size_t length,
                       nghttp2_data_source* source, void* user);

 private:
  bool tolerates_idle_frame();
  int flood();
  void finish_drain();
  int told_request(const nghttp2_frame_hd& frame);
};

}  // namespace argosy::http2
