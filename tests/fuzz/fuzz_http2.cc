// fuzz_http2: whatever a client sends, each stream is closed exactly once, no more is
// shown than was sent, and the session stays usable until it says otherwise. The first
// byte chooses how the rest is cut; a stream whose request is complete is answered.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <vector>

#include "http2/session.h"

using namespace argosy;

namespace {

struct Peer;

struct Stream final : http2::StreamEvents {
  void on_header(std::string_view, std::string_view) override { check(); }
  void on_head(bool) override { check(); }
  void on_data(Bytes data) override;
  void on_end() override;
  void on_drained() override { check(); }
  void on_close(http2::ErrorCode) override {
    check();
    closed = true;
  }
  void check() const {
    if (closed) std::abort();
  }

  Peer* peer = nullptr;
  http2::StreamId id = 0;
  bool closed = false;
};

struct Peer final : http2::SessionEvents {
  http2::StreamEvents* on_stream(http2::StreamId id) override {
    Stream& stream = streams[id];
    if (stream.peer != nullptr || id % 2 == 0) std::abort();
    stream.peer = this;
    stream.id = id;
    return &stream;
  }
  void on_ping() override {}
  void on_ping_ack() override {}
  void on_data_sent() override {}

  std::map<http2::StreamId, Stream> streams;
  std::size_t shown = 0;
  http2::Session session{{}, *this, default_pool()};
};

void Stream::on_data(Bytes data) {
  check();
  peer->shown += data.size();
  peer->session.consume(id, data.size());
}

void Stream::on_end() {
  check();
  static constexpr http2::Header kHead[] = {{":status", "200", true}};
  static constexpr http2::Header kTrailers[] = {{"grpc-status", "0", true}};
  peer->session.respond(id, kHead);
  peer->session.write(id, Bytes::copy_of("answer"));
  peer->session.finish(id, kTrailers);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  Peer peer;
  const Bytes all = Bytes::copy_of(std::as_bytes(std::span(data + 1, size - 1)));
  const std::size_t piece = 1 + std::size_t{data[0]} * 16;
  std::vector<Bytes> out;
  for (std::size_t at = 0; at < all.size(); at += piece) {
    const bool alive = peer.session.receive(all.slice(at, std::min(piece, all.size() - at)));
    peer.session.pull(out, 1u << 16);
    out.clear();
    if (!alive || peer.session.done()) break;
  }
  if (peer.shown > all.size()) std::abort();
  if (peer.session.open_streams() > peer.streams.size()) std::abort();
  return 0;
}
