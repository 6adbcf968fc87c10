#pragma once

// Connection: one client socket that carries exchanges, several at a time where the
// protocol can.
//
// It holds the socket, the bytes that did not fit into it, and what epoll is asked
// for; HttpConnection and GrpcConnection give the bytes their meaning. Outcomes are
// told to the listener, exactly one for each begun exchange, also when the socket
// breaks; a listener may begin the next exchange from inside the call.
//
// Thread: the one that runs its epoll.

#include <sys/socket.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "load/answer.h"
#include "load/exchange.h"

namespace argosy::load {

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
};
Result<Address> resolve(const std::string& host, const std::string& port);

struct Outcome {
  Status status;          // the protocol's or the transport's verdict
  std::string_view body;  // valid during the call; gRPC: the message alone
  std::size_t header_length = kNoHeaderLength;
};

class Connection;

class OutcomeListener {
 public:
  virtual ~OutcomeListener() = default;
  virtual void on_outcome(Connection& from, std::uint64_t tag, const Outcome& outcome) = 0;
};

class Connection {
 public:
  explicit Connection(OutcomeListener& listener) : listener_(listener) {}
  virtual ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Starts a non-blocking connect and registers with `epoll`.
  Status open(int epoll, const Address& to);
  bool is_open() const { return fd_ >= 0; }
  // False also for one whose server takes no more; what is in flight on it still gets its outcome.
  virtual bool takes_more() const { return is_open(); }

  // The exchange must stay unchanged until its outcome, a large one while the connection
  // is open. open() first. Bytes leave with the next flush(). An outcome that has the
  // likely body has its very bytes.
  virtual void begin(const Exchange& exchange, std::uint64_t tag, const LikelyBody& likely) = 0;
  void begin(const Exchange& exchange, std::uint64_t tag) { begin(exchange, tag, nullptr); }

  void on_events(std::uint32_t events);
  void flush();
  // Ends every exchange in flight with `why` and closes the socket.
  void fail(const Status& why);

  bool queued_for_flush = false;  // the owner's mark, so that a connection is flushed once a turn
  std::uint32_t slot = 0;         // the owner's number for it

 protected:
  virtual void on_connected() = 0;
  virtual Status on_bytes(std::string_view bytes) = 0;  // an error closes the connection
  virtual void on_closed(const Status& why) = 0;        // tell every outcome that is left
  virtual void fill_output() {}                         // move more bytes to output(), if any wait

  std::string& output() { return output_; }
  // Sends `large` after what output() holds now, without copying it; it must live until sent.
  void send_after_output(std::string_view large);
  bool output_pending() const { return sent_ < output_.size() || first_large_ < large_.size(); }
  std::size_t output_bytes() const { return output_.size() - sent_ + large_bytes_; }  // still to be sent
  OutcomeListener& listener() { return listener_; }

 private:
  struct Large {
    std::size_t at;  // it follows so much of output_
    std::string_view bytes;
  };

  void watch(std::uint32_t events);
  void drop_sent(std::size_t count);
  void forget_output();
  Status finish_connect();
  Status write_some(bool& blocked);

  OutcomeListener& listener_;
  int fd_ = -1;
  int epoll_ = -1;
  bool connected_ = false;
  std::uint32_t watched_ = 0;
  std::string output_;
  std::size_t sent_ = 0;
  std::vector<Large> large_;  // from first_large_ on still to be sent
  std::size_t first_large_ = 0;
  std::size_t large_bytes_ = 0;
};

std::unique_ptr<Connection> make_http_connection(OutcomeListener& listener);
std::unique_ptr<Connection> make_grpc_connection(OutcomeListener& listener, std::string authority);

}  // namespace argosy::load
