// fuzz_http2: whatever a client sends, each stream is closed exactly once, no more is
// shown than was sent, and the session stays usable until it says otherwise. The first
// byte chooses how the rest is cut; a stream whose request is complete is answered.
// Received where Landing says, by streams that offer memory, the same bytes are shown.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "http2/landing.h"
#include "http2/session.h"

using namespace argosy;

namespace {

struct Peer;

struct Stream final : http2::StreamEvents {
  static constexpr std::size_t kOffered = 64u << 10;

  void on_header(std::string_view, std::string_view) override { check(); }
  void on_head(bool) override { check(); }
  void on_data(Bytes data) override;
  void on_end() override;
  void on_drained() override { check(); }
  void on_close(http2::ErrorCode) override {
    check();
    closed = true;
  }
  Buffer unfilled() override {
    check();
    const std::size_t used = shown.size() % kOffered;
    return offered ? offered.from(used) : Buffer();
  }
  void check() const {
    if (closed) std::abort();
  }

  Peer* peer = nullptr;
  http2::StreamId id = 0;
  Buffer offered;
  std::string shown;
  bool closed = false;
};

struct Peer final : http2::SessionEvents {
  explicit Peer(bool offers) : offers_memory(offers) {}

  http2::StreamEvents* on_stream(http2::StreamId id) override {
    Stream& stream = streams[id];
    if (stream.peer != nullptr || id % 2 == 0) std::abort();
    stream.peer = this;
    stream.id = id;
    if (offers_memory) stream.offered = default_pool().allocate(Stream::kOffered);
    return &stream;
  }
  void on_ping() override {}
  void on_ping_ack() override {}
  void on_data_sent() override {}

  const bool offers_memory;
  std::map<http2::StreamId, Stream> streams;
  std::size_t shown = 0;
  http2::Session session{{}, *this, default_pool()};
};

void Stream::on_data(Bytes data) {
  check();
  peer->shown += data.size();
  shown += data.view();
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

// Bytes into the places that a plan names, and on to the session. False: it ended.
bool land(Peer& peer, http2::Landing& landing, Bytes bytes) {
  while (!bytes.empty()) {
    Buffer rest = default_pool().allocate(1u << 10);
    std::size_t count = 0;
    for (const auto place : landing.plan(peer.session, rest.span())) {
      const std::size_t part = std::min(place.size(), bytes.size());
      if (part > 0) std::memcpy(place.data(), bytes.data(), part);
      bytes = bytes.from(part);
      count += part;
    }
    if (!landing.receive(peer.session, count, rest, default_pool()).alive) return false;
  }
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  Peer peer(false), landed(true);
  http2::Landing landing;
  const Bytes all = Bytes::copy_of(std::as_bytes(std::span(data + 1, size - 1)));
  const std::size_t piece = 1 + std::size_t{data[0]} * 16;
  std::vector<Bytes> out;
  bool alive = true;
  for (std::size_t at = 0; at < all.size() && alive; at += piece) {
    const Bytes part = all.slice(at, std::min(piece, all.size() - at));
    alive = peer.session.receive(part);
    const bool same = land(landed, landing, part);
    if (same != alive) std::abort();
    for (Peer* one : {&peer, &landed}) {
      one->session.pull(out, 1u << 16);
      out.clear();
    }
    if (peer.session.done()) break;
  }
  if (peer.shown > all.size()) std::abort();
  if (peer.session.open_streams() > peer.streams.size()) std::abort();
  // A session that ends in the middle of a piece still hears the rest of it.
  if (alive) {
    for (auto& [id, stream] : peer.streams) {
      if (landed.streams[id].shown != stream.shown) std::abort();
    }
  }
  return 0;
}
