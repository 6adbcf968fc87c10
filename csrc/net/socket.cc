#include "net/socket.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>
#include <system_error>

namespace argosy::net {
namespace {

constexpr std::string_view kUnix = "unix:";
constexpr std::string_view kIpv6 = "ipv6:";

std::string shown(const ListenOptions& options) {
  return options.address.starts_with(kUnix) ? options.address : options.address + ":" + std::to_string(options.port);
}

Status failed(const ListenOptions& options, std::string_view doing, int error) {
  if (error == EADDRINUSE) return unavailable("Socket '" + shown(options) + "' already in use");
  return unavailable("Socket '" + shown(options) + "': " + std::string(doing) + ": " + error_text(error));
}

Result<Listening> listen_unix(const ListenOptions& options) {
  const std::string path = options.address.substr(kUnix.size());
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return invalid_argument("Socket '" + options.address + "': a path of 1 to " +
                            std::to_string(sizeof address.sun_path - 1) + " bytes is expected");
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket) return failed(options, "socket", errno);
  const auto* raw = reinterpret_cast<const sockaddr*>(&address);
  if (::bind(socket.get(), raw, sizeof address) != 0) {
    if (errno != EADDRINUSE) return failed(options, "bind", errno);
    // A socket file nobody listens on is left over from a killed server.
    struct stat info {};
    const Descriptor probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const bool stale = ::stat(path.c_str(), &info) == 0 && S_ISSOCK(info.st_mode) && probe &&
                       ::connect(probe.get(), raw, sizeof address) != 0 && errno == ECONNREFUSED;
    if (!stale) return failed(options, "bind", EADDRINUSE);
    ::unlink(path.c_str());
    if (::bind(socket.get(), raw, sizeof address) != 0) return failed(options, "bind", errno);
  }
  if (::listen(socket.get(), options.backlog) != 0) return failed(options, "listen", errno);
  return Listening{std::move(socket), 0};
}

// `share` before binding: sockets of other processes may have the port too.
Result<Listening> listen_tcp(const ListenOptions& options, bool share_before_bind) {
  std::string host = options.address;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  if (host.starts_with(kIpv6)) {
    host.erase(0, kIpv6.size());
    hints.ai_family = AF_INET6;
  }
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  addrinfo* found = nullptr;
  const int problem =
      ::getaddrinfo(host.empty() ? nullptr : host.c_str(), std::to_string(options.port).c_str(), &hints, &found);
  if (problem != 0) {
    return invalid_argument("Socket '" + shown(options) +
                            "': the address cannot be resolved: " + ::gai_strerror(problem));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> addresses(found, &::freeaddrinfo);

  Status why = unavailable("Socket '" + shown(options) + "': no address");
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    Descriptor socket(::socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const int on = 1;
    if (!socket) {
      why = failed(options, "socket", errno);
      continue;
    }
    ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (share_before_bind && ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) {
      why = failed(options, "SO_REUSEPORT", errno);
      continue;
    }
    if (::bind(socket.get(), at->ai_addr, at->ai_addrlen) != 0) {
      why = failed(options, "bind", errno);
      continue;
    }
    if (::listen(socket.get(), options.backlog) != 0) {
      why = failed(options, "listen", errno);
      continue;
    }
    ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // accepted sockets inherit it
    sockaddr_storage bound{};
    socklen_t size = sizeof bound;
    if (::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&bound), &size) != 0) {
      return failed(options, "getsockname", errno);
    }
    const std::uint16_t port = bound.ss_family == AF_INET6
                                   ? ntohs(reinterpret_cast<const sockaddr_in6&>(bound).sin6_port)
                                   : ntohs(reinterpret_cast<const sockaddr_in&>(bound).sin_port);
    return Listening{std::move(socket), port};
  }
  return why;
}

}  // namespace

void Descriptor::close() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

Descriptor Descriptor::duplicate() const { return Descriptor(::fcntl(fd_, F_DUPFD_CLOEXEC, 0)); }

Result<Listening> listen_on(const ListenOptions& options) {
  if (options.address.starts_with(kUnix)) return listen_unix(options);
  return listen_tcp(options, options.reuse_port);
}

Result<Listening> listen_beside(const Listening& first, const ListenOptions& options) {
  if (options.reuse_port && !options.address.starts_with(kUnix)) {
    ListenOptions same = options;
    same.port = first.port;
    return listen_tcp(same, true);
  }
  // The port is ours alone, so the loops take turns at one queue of connections.
  Descriptor copy = first.socket.duplicate();
  if (!copy) return failed(options, "dup", errno);
  return Listening{std::move(copy), first.port};
}

std::string error_text(int error) { return std::system_category().message(error); }

}  // namespace argosy::net
