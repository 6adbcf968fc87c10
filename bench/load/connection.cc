#include "load/connection.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "net/near_peer.h"

namespace argosy::load {
namespace {

constexpr std::size_t kReadBytes = 256 << 10;
constexpr std::size_t kPartsPerWrite = 130;

Status socket_error(std::string_view what, int error) {
  return unavailable(std::string(what) + ": " + std::strerror(error));
}

}  // namespace

Result<Address> resolve(const std::string& host, const std::string& port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(host.c_str(), port.c_str(), &hints, &found); error != 0) {
    return invalid_argument("cannot resolve '" + host + ":" + port + "': " + gai_strerror(error));
  }
  Address address;
  // IPv4 first where a name has both: servers for benches often listen on 127.0.0.1 alone.
  const addrinfo* chosen = found;
  for (const addrinfo* a = found; a != nullptr; a = a->ai_next) {
    if (a->ai_family == AF_INET) {
      chosen = a;
      break;
    }
  }
  std::memcpy(&address.storage, chosen->ai_addr, chosen->ai_addrlen);
  address.size = chosen->ai_addrlen;
  freeaddrinfo(found);
  return address;
}

Connection::~Connection() {
  if (fd_ >= 0) ::close(fd_);
}

Status Connection::open(int epoll, const Address& to) {
  fd_ = ::socket(to.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd_ < 0) return socket_error("socket", errno);
  const int on = 1;
  ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  epoll_ = epoll;
  connected_ = false;
  forget_output();
  const int done = ::connect(fd_, reinterpret_cast<const sockaddr*>(&to.storage), to.size);
  if (done != 0 && errno != EINPROGRESS) {
    const auto status = socket_error("connect", errno);
    ::close(fd_);
    fd_ = -1;
    return status;
  }
  epoll_event event{};
  event.events = watched_ = EPOLLIN | EPOLLOUT;
  event.data.ptr = this;
  ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd_, &event);
  on_connected();
  return {};
}

Status Connection::finish_connect() {
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) return socket_error("connect", error);
  connected_ = true;
  net::tune_for_near_peer(fd_);
  return {};
}

void Connection::watch(std::uint32_t events) {
  if (events == watched_ || fd_ < 0) return;
  epoll_event event{};
  event.events = watched_ = events;
  event.data.ptr = this;
  ::epoll_ctl(epoll_, EPOLL_CTL_MOD, fd_, &event);
}

void Connection::on_events(std::uint32_t events) {
  if (fd_ < 0) return;
  if (!connected_) {
    if (auto status = finish_connect(); !status.ok()) return fail(status);
  }
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
    // One buffer for all connections of a thread: nothing stays in it between calls.
    thread_local std::array<char, kReadBytes> buffer;
    for (;;) {
      const ssize_t got = ::recv(fd_, buffer.data(), buffer.size(), 0);
      if (got > 0) {
        if (auto status = on_bytes({buffer.data(), static_cast<std::size_t>(got)}); !status.ok()) return fail(status);
        if (fd_ < 0) return;
        if (static_cast<std::size_t>(got) < buffer.size()) break;
      } else if (got == 0) {
        return fail(unavailable("the server closed the connection"));
      } else if (errno == EAGAIN) {
        break;
      } else if (errno != EINTR) {
        return fail(socket_error("receive", errno));
      }
    }
  }
  if ((events & EPOLLOUT) != 0) flush();
}

void Connection::send_after_output(std::string_view large) {
  if (large.empty()) return;
  large_.push_back({output_.size(), large});
  large_bytes_ += large.size();
}

void Connection::forget_output() {
  output_.clear();
  large_.clear();
  sent_ = first_large_ = large_bytes_ = 0;
}

void Connection::drop_sent(std::size_t count) {
  while (count > 0) {
    const bool any_large = first_large_ < large_.size();
    const std::size_t small = (any_large ? large_[first_large_].at : output_.size()) - sent_;
    const std::size_t from_small = std::min(count, small);
    sent_ += from_small;
    count -= from_small;
    if (count == 0) return;
    std::string_view& bytes = large_[first_large_].bytes;
    const std::size_t from_large = std::min(count, bytes.size());
    bytes.remove_prefix(from_large);
    large_bytes_ -= from_large;
    count -= from_large;
    if (bytes.empty()) ++first_large_;
  }
}

Status Connection::write_some(bool& blocked) {
  while (output_pending()) {
    std::array<iovec, kPartsPerWrite> parts;
    std::size_t count = 0, at = sent_, i = first_large_;
    for (; i < large_.size() && count + 2 < parts.size(); ++i) {
      if (at < large_[i].at) parts[count++] = {output_.data() + at, large_[i].at - at};
      parts[count++] = {const_cast<char*>(large_[i].bytes.data()), large_[i].bytes.size()};
      at = large_[i].at;
    }
    if (i == large_.size() && at < output_.size()) parts[count++] = {output_.data() + at, output_.size() - at};
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = count;
    const ssize_t wrote = ::sendmsg(fd_, &message, MSG_NOSIGNAL);
    if (wrote < 0) {
      if (errno == EINTR) continue;
      blocked = errno == EAGAIN;
      return blocked ? Status() : socket_error("send", errno);
    }
    drop_sent(static_cast<std::size_t>(wrote));
  }
  forget_output();
  return {};
}

void Connection::flush() {
  if (fd_ < 0 || !connected_) return;
  bool blocked = false;
  do {
    if (!output_pending()) fill_output();
    if (!output_pending()) break;
    if (auto status = write_some(blocked); !status.ok()) return fail(status);
  } while (!blocked);
  watch(blocked ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

void Connection::fail(const Status& why) {
  if (fd_ < 0) return;
  ::close(fd_);
  fd_ = -1;
  large_.clear();
  first_large_ = large_bytes_ = 0;
  on_closed(why);
}

}  // namespace argosy::load
