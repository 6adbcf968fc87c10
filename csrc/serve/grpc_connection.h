#pragma once

// GrpcConnection: one HTTP/2 connection's life: bytes between the socket and the
// session, the keep-alive rules, and its streams until the last one is answered.
//
// What a call means is GrpcStream's. Large messages are received where they belong
// (http2::Landing). Frames are made once per round of the loop, when all answers of that
// round are known, and only as far as the socket's queue allows.
//
// Thread: its loop's.

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "http2/lifetime.h"
#include "http2/session.h"
#include "net/connection.h"
#include "serve/grpc_method.h"
#include "serve/services.h"

namespace argosy::serve {

class GrpcStream;

class GrpcConnection final : public net::ConnectionHandler, private http2::SessionEvents {
 public:
  // Both must outlive it.
  GrpcConnection(net::Connection& connection, Services& services);
  ~GrpcConnection() override;

  std::span<std::byte> read_buffer(const net::IoToken& io) override;
  std::span<const std::span<std::byte>> further_buffers(const net::IoToken& io) override;
  void on_open(const net::IoToken& io) override;
  void on_read(const net::IoToken& io, std::size_t count) override;
  void on_read_end(const net::IoToken& io) override;
  void on_writable(const net::IoToken& io) override;
  void before_flush(const net::IoToken& io) override;
  void on_drain(const net::IoToken& io) override;
  void on_closed(const net::IoToken& io, const Status& why) override;

  // For its streams.
  Services& services() { return services_; }
  http2::Session& session() { return *session_; }
  BytesPool& pool() { return connection_.pool(); }
  const std::string& peer() const { return connection_.peer(); }
  const std::shared_ptr<net::Mailbox>& mailbox() { return connection_.loop().mailbox(); }
  TimePoint now() const { return now_; }  // when this round began
  bool draining() const { return draining_; }
  const GrpcMethod& method(std::string_view path) { return methods_.find(path); }
  void answer_waits(const net::IoToken& io) { connection_.ask_flush(io); }
  // A stream of many calls, which must hear of a drain, and that it is gone.
  void add_long_stream(GrpcStream& stream) { long_streams_.push_back(&stream); }
  void stream_closed(GrpcStream& stream);

 private:
  http2::StreamEvents* on_stream(http2::StreamId id) override;
  void on_ping() override;
  void on_ping_ack() override {}
  void on_data_sent() override { lifetime_.on_sent_data(); }

  void tend(const net::IoToken& io);
  void begin_drain();

  net::Connection& connection_;
  Services& services_;
  TimePoint now_;
  http2::Lifetime lifetime_;
  GrpcMethods methods_;
  std::vector<GrpcStream*> long_streams_;
  std::unique_ptr<http2::Session> session_;
  net::Timer timer_;
  std::vector<Bytes> out_;
  bool full_reads_ = false;  // the last read filled its block
  bool draining_ = false;
};

// What a front gives its gRPC listeners.
std::unique_ptr<net::ConnectionHandler> make_grpc_connection(net::Connection& connection, Services& services);

}  // namespace argosy::serve
