#pragma once

// HttpConnection: one HTTP/1.1 connection's life: requests are parsed, routed and
// started as they arrive, and answered in the order of their arrival.
//
// A client that leaves, or ends its side, cancels its running inferences; what can
// still be answered is. What a path means is kserve's business, what a body means too.
//
// Thread: its loop's.

#include <deque>
#include <memory>
#include <string>

#include "http1/parser.h"
#include "kserve/path.h"
#include "net/connection.h"
#include "serve/http_exchange.h"
#include "serve/services.h"

namespace argosy::serve {

enum class HttpPort : std::uint8_t { inference, metrics };

class HttpConnection final : public net::ConnectionHandler, private http1::BodyRoom {
 public:
  HttpConnection(net::Connection& connection, Services& services, HttpPort port);
  ~HttpConnection() override;

  std::span<std::byte> read_buffer(const net::IoToken& io) override;
  void on_read(const net::IoToken& io, std::size_t count) override;
  void on_read_end(const net::IoToken& io) override;
  void on_writable(const net::IoToken& io) override;
  void on_drain(const net::IoToken& io) override;
  void on_open(const net::IoToken& io) override;
  void on_closed(const net::IoToken& io, const Status& why) override;

  // The exchange has its answer; it and those behind it that were waiting are written.
  void answered(const net::IoToken& io, HttpExchange& exchange, HttpReply reply);

  // A streamed answer: the head, then pieces, then the end; held back until its turn.
  void stream_head(const net::IoToken& io, HttpExchange& exchange, HttpReply head);
  void stream_piece(const net::IoToken& io, HttpExchange& exchange, kserve::Gather piece);
  void stream_end(const net::IoToken& io, HttpExchange& exchange);

  // More of a stream would only wait here.
  bool behind(const HttpExchange& exchange) const;

  net::Connection& connection() { return connection_; }
  Services& services() { return services_; }

 private:
  Buffer room(const http1::Head& head, std::size_t size) override;
  void advance(const net::IoToken& io);
  void start(const net::IoToken& io);
  void log_access(const HttpExchange& exchange) const;
  void refuse(const net::IoToken& io, int status, std::string_view text);
  void write(const net::IoToken& io, HttpExchange& exchange);
  void write_pieces(const net::IoToken& io, const kserve::Gather& body);
  void write_waiting(const net::IoToken& io);
  void after_answers(const net::IoToken& io);
  void pay_continue(const net::IoToken& io);
  void watch_time(const net::IoToken& io);
  void on_timer(const net::IoToken& io);
  bool pipeline_full() const;

  net::Connection& connection_;
  Services& services_;
  const HttpPort port_;
  http1::Parser parser_;
  net::Timer timer_;
  std::deque<std::shared_ptr<HttpExchange>> exchanges_;  // unanswered, oldest first
  std::string head_;                                     // scratch
  TimePoint first_byte_{};                               // of the request being received
  bool receiving_ = false;
  bool last_taken_ = false;  // no request after this one is read
  bool draining_ = false;
  bool advancing_ = false;
  bool continue_owed_ = false;  // the client waits for an interim answer
};

std::unique_ptr<net::ConnectionHandler> make_http_connection(net::Connection& connection, Services& services);
std::unique_ptr<net::ConnectionHandler> make_metrics_connection(net::Connection& connection, Services& services);

}  // namespace argosy::serve
