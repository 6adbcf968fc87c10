#pragma once

// An HTTP/2 client without a socket, for tests: nghttp2's own client session, with what
// it heard kept for each stream.

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace argosy::test {

using HeaderList = std::vector<std::pair<std::string, std::string>>;

struct Heard {
  std::map<std::string, std::string> head, trailers;
  std::string body;
  bool head_done = false;
  bool ended = false;
  bool closed = false;
  std::uint32_t close_code = 0;
};

class Http2Client {
 public:
  explicit Http2Client(std::vector<nghttp2_settings_entry> settings = {}, bool reads = true) : reads_(reads) {
    nghttp2_session_callbacks* calls = nullptr;
    nghttp2_session_callbacks_new(&calls);
    nghttp2_session_callbacks_set_on_header_callback(calls, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(calls, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(calls, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(calls, on_close);
    nghttp2_option* option = nullptr;
    nghttp2_option_new(&option);
    nghttp2_option_set_no_auto_window_update(option, reads ? 0 : 1);
    nghttp2_session_client_new2(&h2_, calls, this, option);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(calls);
    nghttp2_submit_settings(h2_, 0, settings.data(), settings.size());
  }
  ~Http2Client() { nghttp2_session_del(h2_); }
  Http2Client(const Http2Client&) = delete;

  // Opens a stream; its body follows with send() unless `end`.
  std::int32_t open(const HeaderList& headers, bool end = false) {
    std::vector<nghttp2_nv> pairs;
    for (const auto& [name, value] : headers) {
      pairs.push_back({bytes(name), bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE});
    }
    nghttp2_data_provider2 source{};
    source.read_callback = on_read;
    const std::int32_t id =
        nghttp2_submit_request2(h2_, nullptr, pairs.data(), pairs.size(), end ? nullptr : &source, nullptr);
    if (id < 0) throw std::runtime_error(nghttp2_strerror(id));
    return id;
  }
  void send(std::int32_t id, std::string_view body, bool end = false) {
    Out& out = out_[id];
    out.body += body;
    out.end = out.end || end;
    nghttp2_session_resume_data(h2_, id);
  }
  void end(std::int32_t id) { send(id, "", true); }
  void reset(std::int32_t id, std::uint32_t code = NGHTTP2_CANCEL) { nghttp2_submit_rst_stream(h2_, 0, id, code); }
  void ping() { nghttp2_submit_ping(h2_, 0, nullptr); }
  void settings() { nghttp2_submit_settings(h2_, 0, nullptr, 0); }
  // Only for a client made with reads = false: lets the server send this much more.
  void read_more(std::int32_t id, std::size_t size) { nghttp2_session_consume(h2_, id, size); }

  // Bytes for the server.
  std::string take() {
    std::string out;
    for (;;) {
      const std::uint8_t* piece = nullptr;
      const nghttp2_ssize size = nghttp2_session_mem_send2(h2_, &piece);
      if (size <= 0) return out;
      out.append(reinterpret_cast<const char*>(piece), static_cast<std::size_t>(size));
    }
  }
  // Bytes from the server.
  bool give(std::string_view from) {
    return nghttp2_session_mem_recv2(h2_, reinterpret_cast<const std::uint8_t*>(from.data()), from.size()) >= 0;
  }

  const Heard& heard(std::int32_t id) { return heard_[id]; }
  std::size_t unsent(std::int32_t id) { return out_[id].body.size(); }
  bool went_away() const { return went_away_; }
  std::uint32_t goaway_code() const { return goaway_code_; }
  const std::string& goaway_reason() const { return goaway_reason_; }
  int ping_acks() const { return ping_acks_; }
  nghttp2_session* raw() { return h2_; }

 private:
  struct Out {
    std::string body;
    bool end = false;
  };

  static std::uint8_t* bytes(const std::string& text) {
    return reinterpret_cast<std::uint8_t*>(const_cast<char*>(text.data()));
  }
  static Http2Client& self(void* user) { return *static_cast<Http2Client*>(user); }

  static int on_header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t name_size,
                       const std::uint8_t* value, std::size_t value_size, std::uint8_t, void* user) {
    Heard& heard = self(user).heard_[frame->hd.stream_id];
    auto& list = heard.head_done ? heard.trailers : heard.head;
    list[std::string(reinterpret_cast<const char*>(name), name_size)] =
        std::string(reinterpret_cast<const char*>(value), value_size);
    return 0;
  }
  static int on_frame(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    Http2Client& client = self(user);
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS: client.heard_[frame->hd.stream_id].head_done = true; [[fallthrough]];
      case NGHTTP2_DATA:
        if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) client.heard_[frame->hd.stream_id].ended = true;
        break;
      case NGHTTP2_GOAWAY:
        client.went_away_ = true;
        client.goaway_code_ = frame->goaway.error_code;
        client.goaway_reason_.assign(reinterpret_cast<const char*>(frame->goaway.opaque_data),
                                     frame->goaway.opaque_data_len);
        break;
      case NGHTTP2_PING:
        if (frame->hd.flags & NGHTTP2_FLAG_ACK) ++client.ping_acks_;
        break;
      default: break;
    }
    return 0;
  }
  static int on_data(nghttp2_session*, std::uint8_t, std::int32_t id, const std::uint8_t* data, std::size_t size,
                     void* user) {
    self(user).heard_[id].body.append(reinterpret_cast<const char*>(data), size);
    return 0;
  }
  static int on_close(nghttp2_session*, std::int32_t id, std::uint32_t code, void* user) {
    Heard& heard = self(user).heard_[id];
    heard.closed = true;
    heard.close_code = code;
    return 0;
  }
  static nghttp2_ssize on_read(nghttp2_session*, std::int32_t id, std::uint8_t* to, std::size_t size,
                               std::uint32_t* flags, nghttp2_data_source*, void* user) {
    Out& out = self(user).out_[id];
    if (out.body.empty() && !out.end) return NGHTTP2_ERR_DEFERRED;
    const std::size_t part = std::min(size, out.body.size());
    std::memcpy(to, out.body.data(), part);
    out.body.erase(0, part);
    if (out.body.empty() && out.end) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<nghttp2_ssize>(part);
  }

  const bool reads_;
  nghttp2_session* h2_ = nullptr;
  std::map<std::int32_t, Heard> heard_;
  std::map<std::int32_t, Out> out_;
  bool went_away_ = false;
  std::uint32_t goaway_code_ = 0;
  std::string goaway_reason_;
  int ping_acks_ = 0;
};

}  // namespace argosy::test
