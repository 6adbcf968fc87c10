#include "serve/grpc_connection.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "http2/landing.h"
#include "serve/grpc_stream.h"

namespace argosy::serve {
namespace {

constexpr std::size_t kReadBlock = 64u << 10;
constexpr std::size_t kLargeReadBlock = 256u << 10;
constexpr std::size_t kLeastRead = 4u << 10;
constexpr std::size_t kPulledAtOnce = 256u << 10;

// Where a loop's gRPC connections read, one after another: an idle connection holds no
// memory, and what is read stays valid as long as a slice of it lives.
struct ReadBlock {
  Buffer block;
  std::size_t used = 0;
  const BytesPool* pool = nullptr;
  http2::Landing landing;
  std::span<const http2::Landing::Place> places;  // of the read under way
};
thread_local ReadBlock reading;

http2::Limits limits_of(const FrontOptions& options) {
  http2::Limits limits;
  limits.max_concurrent_streams = options.grpc_settings.max_streams;
  limits.max_header_bytes =
      static_cast<std::uint32_t>(std::min<std::size_t>(options.limits.max_header_bytes, 64u << 10));
  return limits;
}

http2::LifetimeRules rules_of(const FrontOptions& options) {
  const GrpcOptions& grpc = options.grpc_settings;
  const auto unless_zero = [](Micros value) { return value == Micros{0} ? http2::kNever : value; };
  http2::LifetimeRules rules;
  rules.keepalive_time = grpc.keepalive_time;
  rules.keepalive_timeout = grpc.keepalive_timeout;
  rules.ping_without_streams = grpc.keepalive_without_calls;
  rules.max_pings_without_data = grpc.max_pings_without_data;
  rules.min_received_ping_interval = grpc.min_ping_interval;
  rules.max_ping_strikes = grpc.max_ping_strikes;
  rules.first_frame_timeout = options.limits.header_timeout;
  rules.max_age = unless_zero(grpc.max_connection_age);
  rules.max_age_grace = unless_zero(grpc.max_connection_age_grace);
  return rules;
}

}  // namespace

GrpcConnection::GrpcConnection(net::Connection& connection, Services& services)
    : connection_(connection),
      services_(services),
      now_(services.clock.now()),
      lifetime_(rules_of(services.options), now_),
      methods_(services.options),
      session_(std::make_unique<http2::Session>(limits_of(services.options), static_cast<http2::SessionEvents&>(*this),
                                                connection.pool())),
      timer_(connection.loop(), [this](const net::IoToken& io) { tend(io); }) {}

GrpcConnection::~GrpcConnection() = default;

void GrpcConnection::on_open(const net::IoToken& io) {
  connection_.ask_flush(io);  // our settings go first
}

std::span<std::byte> GrpcConnection::read_buffer(const net::IoToken& io) {
  const std::size_t wanted = full_reads_ ? kLargeReadBlock : kReadBlock;
  const bool large_enough = reading.block && (!full_reads_ || reading.block.capacity() >= wanted);
  if (reading.pool != &pool() || !large_enough || reading.block.capacity() - reading.used < kLeastRead) {
    reading.block = pool().allocate(wanted);
    reading.used = 0;
    reading.pool = &pool();
    if (!reading.block) {
      connection_.close(io, resource_exhausted("no memory to read into"));
      return {};
    }
  }
  reading.places = reading.landing.plan(*session_, reading.block.span().subspan(reading.used));
  return reading.places.front();
}

std::span<const std::span<std::byte>> GrpcConnection::further_buffers(const net::IoToken&) {
  return reading.places.subspan(1);
}

void GrpcConnection::on_read(const net::IoToken& io, std::size_t count) {
  now_ = connection_.loop().now(io);
  lifetime_.on_received(now_);
  lifetime_.on_streams(session_->open_streams(), now_);
  const Buffer rest = reading.block.from(reading.used);
  const auto landed = reading.landing.receive(*session_, count, rest, pool());
  if (reading.landing.offers_rest()) {
    full_reads_ = landed.rest_used == rest.capacity() && landed.rest_used >= kReadBlock / 2;
  }
  reading.used += landed.rest_used;
  if (!landed.alive) session_->terminate(http2::ErrorCode::protocol_error, "not HTTP/2");
  connection_.ask_flush(io);
}

void GrpcConnection::on_read_end(const net::IoToken& io) { connection_.close(io); }

void GrpcConnection::on_writable(const net::IoToken& io) { connection_.ask_flush(io); }

void GrpcConnection::before_flush(const net::IoToken& io) {
  now_ = connection_.loop().now(io);
  tend(io);
  if (session_ == nullptr) return;
  // One pull is the rule; a connection with more to say goes on until its queue is full.
  while (!connection_.over_high_mark() && session_->wants_pull()) {
    const std::size_t pulled = session_->pull(out_, kPulledAtOnce);
    for (Bytes& piece : out_) connection_.write(io, std::move(piece));
    out_.clear();
    if (pulled < kPulledAtOnce) break;
  }
  if (session_->done()) connection_.close_after_writing(io);
}

void GrpcConnection::tend(const net::IoToken& io) {
  if (session_ == nullptr) return;
  now_ = connection_.loop().now(io);
  lifetime_.on_streams(session_->open_streams(), now_);
  for (;;) {
    const auto next = lifetime_.next(now_);
    switch (next.action) {
      case http2::LifetimeAction::ping: session_->ping(); break;
      case http2::LifetimeAction::drain: begin_drain(); break;
      case http2::LifetimeAction::close:
        return connection_.close(io, deadline_exceeded("the gRPC client is silent or too old"));
      case http2::LifetimeAction::wait:
        if (next.wake != TimePoint::max()) timer_.set(io, next.wake);
        return;
    }
    connection_.ask_flush(io);
  }
}

void GrpcConnection::on_drain(const net::IoToken& io) {
  begin_drain();
  connection_.ask_flush(io);
}

void GrpcConnection::begin_drain() {
  if (draining_) return;
  draining_ = true;
  session_->drain();
  for (GrpcStream* stream : long_streams_) stream->on_drain();
}

void GrpcConnection::on_closed(const net::IoToken&, const Status&) {
  session_.reset();  // each stream hears on_close() and cancels what runs
  assert(long_streams_.empty());
}

http2::StreamEvents* GrpcConnection::on_stream(http2::StreamId id) { return GrpcStream::open(*this, id); }

void GrpcConnection::stream_closed(GrpcStream& stream) { std::erase(long_streams_, &stream); }

void GrpcConnection::on_ping() {
  if (!lifetime_.on_ping(now_)) session_->terminate(http2::ErrorCode::enhance_your_calm, "too_many_pings");
}

std::unique_ptr<net::ConnectionHandler> make_grpc_connection(net::Connection& connection, Services& services) {
  return std::make_unique<GrpcConnection>(connection, services);
}

}  // namespace argosy::serve
