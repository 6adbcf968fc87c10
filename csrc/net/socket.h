#pragma once

// Descriptor: an open file descriptor with one owner. Listening: a bound socket and the
// port the system gave it.
//
// Thread: a value; one thread at a time.

#include <cstdint>
#include <string>
#include <utility>

#include "base/status.h"

namespace argosy::net {

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) {
      close();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~Descriptor() { close(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  void close();
  Descriptor duplicate() const;  // empty on failure

 private:
  int fd_ = -1;
};

struct ListenOptions {
  std::string address = "127.0.0.1";  // a host, "ipv6:[::1]", or "unix:/path"
  std::uint16_t port = 0;             // 0: any; not used for unix:
  bool reuse_port = false;            // share the port with other processes
  int backlog = 1024;
};

struct Listening {
  Descriptor socket;
  std::uint16_t port = 0;  // 0 for unix:
};

// A bound, non-blocking socket that listens. A port somebody else has is `unavailable`:
// "Socket 'ADDR:PORT' already in use".
Result<Listening> listen_on(const ListenOptions& options);

// One more socket on the port of `first`, which the kernel balances with it; for unix: a
// duplicate of `first`.
Result<Listening> listen_beside(const Listening& first, const ListenOptions& options);

std::string error_text(int error);  // strerror, thread-safe

}  // namespace argosy::net
