#include "serve/http_connection.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/log.h"
#include "http1/writer.h"
#include "kserve/json_infer.h"
#include "serve/model_room.h"

namespace argosy::serve {
namespace {

constexpr std::size_t kCopyBelow = 2u << 10;  // bytes; less is copied beside its head, one slice fewer

http1::ParserLimits parser_limits(const Limits& limits) {
  return {.max_header_bytes = limits.max_header_bytes,
          .max_headers = limits.max_headers,
          .max_body_bytes = limits.max_body_bytes};
}

}  // namespace

HttpConnection::HttpConnection(net::Connection& connection, Services& services, HttpPort port)
    : connection_(connection),
      services_(services),
      port_(port),
      parser_(parser_limits(services.options.limits), connection.pool(), this),
      timer_(connection.loop(), [this](const net::IoToken& io) { on_timer(io); }) {}

HttpConnection::~HttpConnection() = default;

void HttpConnection::on_open(const net::IoToken& io) { watch_time(io); }

bool HttpConnection::pipeline_full() const { return exchanges_.size() >= services_.options.limits.max_pipelined; }

std::span<std::byte> HttpConnection::read_buffer(const net::IoToken& io) {
  if (pipeline_full() || last_taken_) return {};
  const std::span<std::byte> space = parser_.space();
  if (space.empty()) connection_.close(io, resource_exhausted("no memory to read into"));
  return space;
}

void HttpConnection::on_read(const net::IoToken& io, std::size_t count) {
  if (!receiving_) {
    receiving_ = true;
    first_byte_ = connection_.loop().now(io);
  }
  parser_.filled(count);
  advance(io);
}

// Tensors in a body lie behind its JSON, whose length the client says.
Buffer HttpConnection::room(const http1::Head& head, std::size_t size) {
  if (size <= kLargeTensor || port_ != HttpPort::inference) return {};
  const std::string_view* header = head.find("inference-header-content-length");
  if (header == nullptr || head.find("content-encoding") != nullptr) return {};
  std::size_t json = 0;
  const auto read = std::from_chars(header->data(), header->data() + header->size(), json);
  if (read.ec != std::errc() || json >= size) return {};
  const kserve::Route route = kserve::route_http(head.method, head.path());
  const auto* call = std::get_if<kserve::InferCall>(&route.target);
  if (call == nullptr || call->verb != kserve::InferVerb::infer) return {};
  return model_room(services_, call->model, call->version, size, json);
}

void HttpConnection::advance(const net::IoToken& io) {
  if (advancing_) return;  // an answer that came at once; the loop below goes on
  advancing_ = true;
  while (!last_taken_ && !connection_.closing() && !pipeline_full() && !connection_.over_high_mark()) {
    const http1::Event event = parser_.next();
    if (event == http1::Event::need_more) break;
    if (event == http1::Event::head) {
      // Only when nothing is waiting before it: an interim answer has its turn, too.
      continue_owed_ = parser_.head().expects_continue;
      if (exchanges_.empty()) pay_continue(io);
    } else if (event == http1::Event::fault) {
      refuse(io, parser_.fault().status, parser_.fault().text);
    } else {
      continue_owed_ = false;  // the body came without it
      start(io);
    }
  }
  advancing_ = false;
  if (connection_.closed()) return;
  receiving_ = !last_taken_ && !parser_.between_messages();
  if (exchanges_.empty() && (last_taken_ || (draining_ && !receiving_))) return connection_.close_after_writing(io);
  watch_time(io);
}

void HttpConnection::pay_continue(const net::IoToken& io) {
  if (std::exchange(continue_owed_, false)) connection_.write_copy(io, http1::kContinue);
}

void HttpConnection::start(const net::IoToken& io) {
  const http1::Head& head = parser_.head();
  const auto exchange = std::make_shared<HttpExchange>(*this);
  exchange->minor_version_ = head.minor_version;
  exchange->keep_alive_ = head.keep_alive;
  last_taken_ = !head.keep_alive;
  exchanges_.push_back(exchange);
  // What follows in the buffer began now, as far as anybody can tell.
  first_byte_ = connection_.loop().now(io);
  const kserve::Route route = port_ == HttpPort::metrics ? kserve::route_metrics_port(head.method, head.path())
                                                         : kserve::route_http(head.method, head.path());
  if (services_.options.access_log) exchange->asked_ = std::string(head.method) + " " + std::string(head.target);
  exchange->start(io, head, parser_.take_body(), route);
}

void HttpConnection::refuse(const net::IoToken& io, int status, std::string_view text) {
  last_taken_ = true;
  const auto exchange = std::make_shared<HttpExchange>(*this);
  exchange->keep_alive_ = false;
  exchanges_.push_back(exchange);
  answered(io, *exchange, error_reply(status, text));
}

// One line a request, when its status is known; nothing unless it was asked for.
void HttpConnection::log_access(const HttpExchange& exchange) const {
  if (!services_.options.access_log) return;
  const std::string& asked = exchange.asked_.empty() ? std::string("(malformed)") : exchange.asked_;
  log(LogLevel::info, connection_.peer() + " " + asked + " " + std::to_string(exchange.reply_.status),
      {.request_id = exchange.id_});
}

void HttpConnection::answered(const net::IoToken& io, HttpExchange& exchange, HttpReply reply) {
  exchange.reply_ = std::move(reply);
  exchange.ready_ = true;
  log_access(exchange);
  write_waiting(io);
}

void HttpConnection::stream_head(const net::IoToken& io, HttpExchange& exchange, HttpReply head) {
  exchange.streaming_ = true;
  exchange.reply_ = std::move(head);
  log_access(exchange);
  write_waiting(io);
}

void HttpConnection::stream_piece(const net::IoToken& io, HttpExchange& exchange, kserve::Gather piece) {
  for (Bytes& bytes : piece.pieces) exchange.reply_.body.add(std::move(bytes));
  write_waiting(io);
}

void HttpConnection::stream_end(const net::IoToken& io, HttpExchange& exchange) {
  exchange.ready_ = true;
  write_waiting(io);
}

void HttpConnection::write_pieces(const net::IoToken& io, const kserve::Gather& body) {
  for (const Bytes& piece : body.pieces) {
    if (piece.size() < kCopyBelow) {
      connection_.write_copy(io, piece.view());
    } else {
      connection_.write(io, piece);
    }
  }
}

void HttpConnection::write(const net::IoToken& io, HttpExchange& exchange) {
  HttpReply& reply = exchange.reply_;
  if (!exchange.begun_) {
    if (draining_) exchange.keep_alive_ = false;
    head_.clear();
    http1::begin_head(head_, reply.status);
    if (!reply.content_type.empty()) http1::add_field(head_, "Content-Type", reply.content_type);
    for (const auto& [name, value] : reply.fields) http1::add_field(head_, name, value);
    if (exchange.streaming_) {
      if (exchange.minor_version_ == 0) exchange.keep_alive_ = false;
      http1::end_stream_head(head_, exchange.minor_version_ >= 1, exchange.keep_alive_);
    } else {
      http1::end_head(head_, reply.body.size, exchange.minor_version_, exchange.keep_alive_);
    }
    connection_.write_copy(io, head_);
    exchange.begun_ = true;
  }
  if (!exchange.streaming_ || exchange.minor_version_ == 0) {
    write_pieces(io, reply.body);
  } else {
    if (reply.body.size > 0) {
      head_.clear();
      http1::begin_chunk(head_, reply.body.size);
      connection_.write_copy(io, head_);
      write_pieces(io, reply.body);
      connection_.write_copy(io, http1::kEndOfChunk);
    }
    if (exchange.ready_) connection_.write_copy(io, http1::kLastChunk);
  }
  reply.body = {};
}

void HttpConnection::write_waiting(const net::IoToken& io) {
  while (!exchanges_.empty()) {
    const std::shared_ptr<HttpExchange> front = exchanges_.front();
    if (!front->ready_ && !front->streaming_) break;
    write(io, *front);
    if (connection_.closed()) return;
    if (!front->ready_) break;
    front->connection_ = nullptr;
    exchanges_.pop_front();
    if (!front->keep_alive_) last_taken_ = true;
    if (!exchanges_.empty() && !exchanges_.front()->waiting_.empty()) {
      // A stream whose turn has come; not from here, which it would come back to.
      connection_.loop().mailbox()->post(
          [exchange = exchanges_.front()](const net::IoToken& token) { exchange->resume_stream(token); });
    }
  }
  after_answers(io);
}

void HttpConnection::after_answers(const net::IoToken& io) {
  if (advancing_) return;
  if (exchanges_.empty() && !last_taken_) pay_continue(io);
  connection_.resume_reading(io);
  advance(io);  // what arrived while the pipeline was full
}

bool HttpConnection::behind(const HttpExchange& exchange) const {
  constexpr std::size_t kMostHeld = 1u << 20;  // while it is not its turn
  return connection_.over_high_mark() || exchange.reply_.body.size > kMostHeld;
}

void HttpConnection::on_writable(const net::IoToken& io) {
  after_answers(io);
  if (connection_.closed() || exchanges_.empty()) return;
  const std::shared_ptr<HttpExchange> front = exchanges_.front();
  front->resume_stream(io);
}

void HttpConnection::on_read_end(const net::IoToken& io) {
  last_taken_ = true;
  receiving_ = false;
  for (const auto& exchange : exchanges_) exchange->cancel();
  if (exchanges_.empty()) connection_.close_after_writing(io);
}

void HttpConnection::on_drain(const net::IoToken& io) {
  draining_ = true;
  if (exchanges_.empty() && !receiving_) {
    last_taken_ = true;
    connection_.close_after_writing(io);
  }
}

void HttpConnection::on_closed(const net::IoToken& io, const Status&) {
  timer_.clear(io);
  for (const auto& exchange : exchanges_) exchange->abandon();
  exchanges_.clear();
}

void HttpConnection::watch_time(const net::IoToken& io) {
  if (connection_.closing()) return;
  const Limits& limits = services_.options.limits;
  const TimePoint now = connection_.loop().now(io);
  if (receiving_ && !pipeline_full()) {
    timer_.set(io, parser_.in_body() ? now + limits.body_timeout : first_byte_ + limits.header_timeout);
  } else if (exchanges_.empty() && !last_taken_) {
    timer_.set(io, now + limits.idle_timeout);
  } else {
    timer_.clear(io);
  }
}

void HttpConnection::on_timer(const net::IoToken& io) {
  if (connection_.closing()) return;
  if (!receiving_) return connection_.close_after_writing(io);
  refuse(io, 408, parser_.in_body() ? "the request's body did not go on" : "the request's header took too long");
}

std::unique_ptr<net::ConnectionHandler> make_http_connection(net::Connection& connection, Services& services) {
  return std::make_unique<HttpConnection>(connection, services, HttpPort::inference);
}

std::unique_ptr<net::ConnectionHandler> make_metrics_connection(net::Connection& connection, Services& services) {
  return std::make_unique<HttpConnection>(connection, services, HttpPort::metrics);
}

}  // namespace argosy::serve
