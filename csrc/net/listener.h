#pragma once

// Listener: accepts connections on one loop and owns them until they close.
//
// At its connection limit it stops accepting, so that further clients wait in the
// kernel's backlog; out of descriptors, it backs off and tries again.
//
// Thread: its loop's, its destructor included; open_connections() any.

#include <atomic>
#include <cstddef>
#include <memory>
#include <unordered_map>

#include "base/bytes_pool.h"
#include "base/status.h"
#include "net/connection.h"
#include "net/event_loop.h"
#include "net/socket.h"
#include "net/tls.h"

namespace argosy::net {

struct ListenerOptions {
  ConnectionOptions connection;
  std::size_t max_connections = 65536;  // on this loop
  Micros accept_back_off{100'000};      // after running out of descriptors or memory
};

class Listener final : private ReadyHandler {
 public:
  // `tls` may be null; `loop` and `pool` outlive the listener.
  Listener(EventLoop& loop, Descriptor socket, ListenerOptions options, std::shared_ptr<TlsContext> tls,
           BytesPool& pool, ConnectionFactory factory);
  ~Listener() override;

  Status start(const IoToken& io);
  // Accepts no more and closes the listening socket; connections stay.
  void stop_accepting(const IoToken& io);
  // stop_accepting(), and each connection finishes what it has and closes.
  void drain(const IoToken& io);
  void close_all(const IoToken& io);

  std::size_t open_connections() const { return open_.load(std::memory_order_relaxed); }

 private:
  void on_ready(const IoToken& io, std::uint32_t events) override;
  void accept_all(const IoToken& io);
  void adopt(const IoToken& io, Descriptor socket, std::string peer);
  void pause(const IoToken& io);
  void gone(const IoToken& io, Connection& connection);

  EventLoop& loop_;
  BytesPool& pool_;
  Descriptor socket_;
  const ListenerOptions options_;
  const std::shared_ptr<TlsContext> tls_;
  const ConnectionFactory factory_;
  std::unordered_map<Connection*, std::shared_ptr<Connection>> connections_;
  Timer again_;
  bool watching_ = false;
  // A gauge read elsewhere; nothing is ordered by it.
  std::atomic<std::size_t> open_{0};
};

}  // namespace argosy::net
