// argosy-echo: the bare echo server on 127.0.0.1, HTTP and gRPC, one epoll loop.
//
//   argosy-echo [--http-port N] [--grpc-port N] [--elements N]   (port 0: any)
//
// Prints one line with the ports it got; SIGTERM or SIGINT ends it.

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <map>

#include "echo/peer.h"

namespace argosy::echo {
namespace {

struct Client {
  int fd = -1;
  std::unique_ptr<Peer> peer;
  std::string out;
  std::size_t sent = 0;
};

struct Listener {
  int fd = -1;
  std::uint16_t port = 0;
};

Listener listen_on(std::uint16_t port) {
  Listener listener{::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), 0};
  const int on = 1;
  ::setsockopt(listener.fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (::bind(listener.fd, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listener.fd, 1024) != 0) {
    std::fprintf(stderr, "argosy-echo: cannot listen on 127.0.0.1:%u\n", port);
    std::exit(1);
  }
  ::getsockname(listener.fd, reinterpret_cast<sockaddr*>(&address), &size);
  listener.port = ntohs(address.sin_port);
  return listener;
}

class Loop {
 public:
  Loop(EchoModel model, Listener http, Listener grpc)
      : model_(std::move(model)), http_(http), grpc_(grpc), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGINT);
    sigaddset(&ending, SIGTERM);
    sigprocmask(SIG_BLOCK, &ending, nullptr);
    signals_ = ::signalfd(-1, &ending, SFD_NONBLOCK | SFD_CLOEXEC);
    for (const int fd : {http_.fd, grpc_.fd, signals_}) watch(fd, EPOLLIN, EPOLL_CTL_ADD);
  }

  void run() {
    std::array<epoll_event, 256> events;
    for (;;) {
      const int count = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), -1);
      for (int i = 0; i < count; ++i) {
        const epoll_event& event = events[static_cast<std::size_t>(i)];
        if (event.data.fd == signals_) return;
        if (event.data.fd == http_.fd || event.data.fd == grpc_.fd) {
          accept_all(event.data.fd);
        } else if (!serve(event.data.fd, event.events)) {
          ::close(event.data.fd);
          clients_.erase(event.data.fd);
        }
      }
    }
  }

 private:
  void watch(int fd, std::uint32_t events, int how) {
    epoll_event event{};
    event.events = events;
    event.data.fd = fd;
    ::epoll_ctl(epoll_, how, fd, &event);
  }

  void accept_all(int listener) {
    for (;;) {
      const int fd = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) return;
      const int on = 1;
      ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      clients_[fd] = {fd, listener == grpc_.fd ? make_grpc_peer(model_) : make_http_peer(model_), {}, 0};
      watch(fd, EPOLLIN, EPOLL_CTL_ADD);
    }
  }

  bool serve(int fd, std::uint32_t events) {
    const auto found = clients_.find(fd);
    if (found == clients_.end()) return true;
    Client& client = found->second;
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
      const ssize_t got = ::recv(fd, buffer_.data(), buffer_.size(), 0);
      if (got == 0 || (got < 0 && errno != EAGAIN)) return false;
      if (got > 0 && !client.peer->on_bytes({buffer_.data(), static_cast<std::size_t>(got)}, client.out)) return false;
    }
    const bool was_blocked = (events & EPOLLOUT) != 0;
    while (client.sent < client.out.size()) {
      const ssize_t wrote = ::send(fd, client.out.data() + client.sent, client.out.size() - client.sent, MSG_NOSIGNAL);
      if (wrote < 0 && errno != EAGAIN) return false;
      if (wrote < 0) {
        if (!was_blocked) watch(fd, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
        return true;
      }
      client.sent += static_cast<std::size_t>(wrote);
    }
    client.out.clear();
    client.sent = 0;
    if (was_blocked) watch(fd, EPOLLIN, EPOLL_CTL_MOD);
    return true;
  }

  const EchoModel model_;
  const Listener http_;
  const Listener grpc_;
  const int epoll_;
  int signals_ = -1;
  std::map<int, Client> clients_;
  std::array<char, 256 << 10> buffer_;
};

int main_of(int count, char** arguments) {
  EchoModel model;
  std::uint16_t http_port = 0;
  std::uint16_t grpc_port = 0;
  for (int i = 1; i < count; i += 2) {
    const std::string_view flag = arguments[i];
    const long value = i + 1 < count ? std::atol(arguments[i + 1]) : -1;
    const bool is_port = flag == "--http-port" || flag == "--grpc-port";
    if (value < 0 || (is_port && value > 65535) || (!is_port && flag != "--elements")) {
      std::fprintf(stderr, "usage: argosy-echo [--http-port N] [--grpc-port N] [--elements N]\n");
      return 2;
    }
    if (flag == "--http-port") http_port = static_cast<std::uint16_t>(value);
    if (flag == "--grpc-port") grpc_port = static_cast<std::uint16_t>(value);
    if (flag == "--elements") model.elements = static_cast<int>(value);
  }
  const Listener http = listen_on(http_port);
  const Listener grpc = listen_on(grpc_port);
  std::printf("{\"http_port\":%u,\"grpc_port\":%u,\"model\":\"%s\"}\n", http.port, grpc.port, model.name.c_str());
  std::fflush(stdout);
  const auto loop = std::make_unique<Loop>(model, http, grpc);
  loop->run();
  return 0;
}

}  // namespace
}  // namespace argosy::echo

int main(int count, char** arguments) { return argosy::echo::main_of(count, arguments); }
