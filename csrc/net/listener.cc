#include "net/listener.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <vector>

#include "net/near_peer.h"

namespace argosy::net {
namespace {

std::string name_of(const sockaddr_storage& peer) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (peer.ss_family == AF_INET) {
    const auto& in = reinterpret_cast<const sockaddr_in&>(peer);
    ::inet_ntop(AF_INET, &in.sin_addr, text.data(), text.size());
    return std::string(text.data()) + ":" + std::to_string(ntohs(in.sin_port));
  }
  if (peer.ss_family == AF_INET6) {
    const auto& in = reinterpret_cast<const sockaddr_in6&>(peer);
    ::inet_ntop(AF_INET6, &in.sin6_addr, text.data(), text.size());
    return "[" + std::string(text.data()) + "]:" + std::to_string(ntohs(in.sin6_port));
  }
  return "unix";
}

}  // namespace

Listener::Listener(EventLoop& loop, Descriptor socket, ListenerOptions options, std::shared_ptr<TlsContext> tls,
                   BytesPool& pool, ConnectionFactory factory)
    : loop_(loop),
      pool_(pool),
      socket_(std::move(socket)),
      options_(options),
      tls_(std::move(tls)),
      factory_(std::move(factory)),
      again_(loop, [this](const IoToken& io) {
        if (const Status watched = start(io); !watched.ok()) pause(io);
      }) {}

Listener::~Listener() = default;

Status Listener::start(const IoToken& io) {
  if (watching_ || !socket_) return {};
  if (Status watched = loop_.watch(io, socket_.get(), *this, Trigger::level_read); !watched.ok()) return watched;
  watching_ = true;
  return {};
}

void Listener::pause(const IoToken& io) {
  if (watching_) loop_.unwatch(io, socket_.get());
  watching_ = false;
  again_.set(io, loop_.now(io) + options_.accept_back_off);
}

void Listener::stop_accepting(const IoToken& io) {
  if (watching_) loop_.unwatch(io, socket_.get());
  watching_ = false;
  again_.clear(io);
  socket_.close();
}

void Listener::drain(const IoToken& io) {
  stop_accepting(io);
  std::vector<std::shared_ptr<Connection>> all;
  for (const auto& [key, connection] : connections_) all.push_back(connection);
  for (const auto& connection : all) connection->drain(io);
}

void Listener::close_all(const IoToken& io) {
  stop_accepting(io);
  while (!connections_.empty()) connections_.begin()->second->close(io, unavailable("Server exiting"));
}

void Listener::on_ready(const IoToken& io, std::uint32_t) {
  if (watching_) accept_all(io);
}

void Listener::accept_all(const IoToken& io) {
  while (socket_) {
    if (connections_.size() >= options_.max_connections) return pause(io);
    sockaddr_storage peer{};
    socklen_t size = sizeof peer;
    Descriptor accepted(
        ::accept4(socket_.get(), reinterpret_cast<sockaddr*>(&peer), &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (accepted) {
      tune_for_near_peer(accepted.get());
      adopt(io, std::move(accepted), name_of(peer));
      continue;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) return pause(io);
    if (errno == EAGAIN || errno == EWOULDBLOCK) return;
    // Else: this one client is gone already (ECONNABORTED and the like).
    if (errno != EINTR && errno != ECONNABORTED && errno != EPROTO && errno != EPERM) return pause(io);
  }
}

void Listener::adopt(const IoToken& io, Descriptor socket, std::string peer) {
  std::unique_ptr<TlsSession> tls;
  if (tls_) {
    auto opened = tls_->open(socket.get());
    if (!opened.ok()) return;
    tls = std::move(*opened);
  }
  auto connection =
      std::make_shared<Connection>(loop_, std::move(socket), std::move(peer), std::move(tls), options_.connection,
                                   pool_, [this](const IoToken& token, Connection& which) { gone(token, which); });
  Connection& opened = *connection;
  connections_.emplace(&opened, std::move(connection));
  open_.store(connections_.size(), std::memory_order_relaxed);
  if (const Status status = opened.open(io, factory_); !status.ok()) opened.close(io, status);
}

void Listener::gone(const IoToken& io, Connection& connection) {
  const auto found = connections_.find(&connection);
  if (found == connections_.end()) return;
  loop_.destroy_later(io, std::move(found->second));
  connections_.erase(found);
  open_.store(connections_.size(), std::memory_order_relaxed);
  if (!watching_ && socket_ && again_.is_set() && connections_.size() < options_.max_connections) {
    again_.set(io, loop_.now(io));  // there is room again
  }
}

}  // namespace argosy::net
