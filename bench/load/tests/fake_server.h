#pragma once

// FakeServer: the other end of a socket, byte by byte, and the few HTTP/2 frames that it says.
//
// Thread: one of its own; blocks in every call.

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace argosy::load {

// On a thread of its own; `serve` gets each connection's socket and number, one after another. All stay open until the
// last has been served.
class FakeServer {
 public:
  FakeServer(int connections, std::function<void(int, int)> serve) : listener_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    EXPECT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&at), size), 0);
    EXPECT_EQ(::listen(listener_, connections), 0);
    EXPECT_EQ(::getsockname(listener_, reinterpret_cast<sockaddr*>(&at), &size), 0);
    port_ = std::to_string(ntohs(at.sin_port));
    thread_ = std::thread([this, connections, serve = std::move(serve)] {
      std::vector<int> open;
      for (int i = 0; i < connections; ++i) {
        open.push_back(::accept(listener_, nullptr, nullptr));
        serve(open.back(), i);
      }
      for (const int fd : open) ::close(fd);
    });
  }
  ~FakeServer() {
    thread_.join();
    ::close(listener_);
  }
  const std::string& port() const { return port_; }

 private:
  int listener_;
  std::string port_;
  std::thread thread_;
};

inline std::string receive_some(int fd, std::size_t most) {
  std::string got(most, '\0');
  const ssize_t count = ::recv(fd, got.data(), most, 0);
  got.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
  return got;
}

inline std::string receive_all(int fd, std::size_t size) {
  std::string all;
  while (all.size() < size) {
    const std::string part = receive_some(fd, size - all.size());
    if (part.empty()) break;
    all += part;
  }
  return all;
}

inline void send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
}

inline std::string frame(std::size_t length, char type, char flags, std::uint32_t stream) {
  std::string head{static_cast<char>(length >> 16), static_cast<char>(length >> 8), static_cast<char>(length), type,
                   flags};
  for (int shift = 24; shift >= 0; shift -= 8) head += static_cast<char>(stream >> shift);
  return head;
}

// Reads frames until a stream ends; its payload, and the longest DATA frame.
inline std::string receive_request(int fd, std::uint32_t& stream, std::size_t& longest) {
  std::string payload;
  for (;;) {
    const std::string head = receive_all(fd, 9);
    if (head.size() < 9) return payload;
    const auto byte = [&](std::size_t i) { return static_cast<std::uint32_t>(static_cast<std::uint8_t>(head[i])); };
    const std::size_t length = byte(0) << 16 | byte(1) << 8 | byte(2);
    const std::string body = receive_all(fd, length);
    if (byte(3) != 0) continue;
    payload += body;
    longest = std::max(longest, length);
    stream = byte(5) << 24 | byte(6) << 16 | byte(7) << 8 | byte(8);
    if ((byte(4) & 1) != 0) return payload;
  }
}

inline std::string setting(std::uint16_t name, std::uint32_t value) {
  std::string bytes{static_cast<char>(name >> 8), static_cast<char>(name)};
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift);
  return bytes;
}

// The server's first frames: wide windows, and how long the client's frames may be.
inline void greet_grpc(int fd, std::uint32_t max_frame) {
  const std::string settings = setting(4, 0x7fffffff) + setting(5, max_frame);
  send_all(fd, frame(settings.size(), 4, 0, 0) + settings + frame(4, 8, 0, 0) + std::string("\x7f\xff\0\0", 4));
  receive_all(fd, 24);
  send_all(fd, frame(0, 4, 1, 0));  // the client's settings count from here on
}

// A stream's whole answer; `message` has its prefix.
inline std::string grpc_answer(std::uint32_t stream, std::string_view message) {
  std::string all = frame(1, 1, 4, stream) + "\x88";
  for (; !message.empty(); message.remove_prefix(std::min<std::size_t>(message.size(), 16'384))) {
    const std::string_view part = message.substr(0, 16'384);
    all += frame(part.size(), 0, 0, stream);
    all += part;
  }
  const std::string trailers = std::string("\0\x0bgrpc-status\x01", 14) + "0";
  return all + frame(trailers.size(), 1, 5, stream) + trailers;
}

}  // namespace argosy::load
