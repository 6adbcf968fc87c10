#include "load/connection.h"

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace argosy::load {
namespace {

std::string noise(std::size_t size, unsigned seed) {
  std::mt19937 random(seed);
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

// A server of one connection on a thread of its own; `serve` gets the socket.
class OneConnection {
 public:
  explicit OneConnection(std::function<void(int)> serve) : listener_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    EXPECT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&at), size), 0);
    EXPECT_EQ(::listen(listener_, 1), 0);
    EXPECT_EQ(::getsockname(listener_, reinterpret_cast<sockaddr*>(&at), &size), 0);
    port_ = std::to_string(ntohs(at.sin_port));
    thread_ = std::thread([this, serve = std::move(serve)] {
      const int fd = ::accept(listener_, nullptr, nullptr);
      serve(fd);
      ::close(fd);
    });
  }
  ~OneConnection() {
    thread_.join();
    ::close(listener_);
  }
  const std::string& port() const { return port_; }

 private:
  int listener_;
  std::string port_;
  std::thread thread_;
};

std::string receive_some(int fd, std::size_t most) {
  std::string got(most, '\0');
  const ssize_t count = ::recv(fd, got.data(), most, 0);
  got.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
  return got;
}

std::string receive_all(int fd, std::size_t size) {
  std::string all;
  while (all.size() < size) {
    const std::string part = receive_some(fd, size - all.size());
    if (part.empty()) break;
    all += part;
  }
  return all;
}

void send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
}

struct Heard final : OutcomeListener {
  void on_outcome(Connection&, std::uint64_t, const Outcome& outcome) override {
    status = outcome.status;
    body = outcome.body;
    place = outcome.body.data();
    told = true;
  }
  Status status;
  std::string body;
  const char* place = nullptr;
  bool told = false;
};

// One exchange, until its outcome.
void exchange(Connection& connection, Heard& heard, int epoll, const Exchange& request, const LikelyBody& likely) {
  heard.told = false;
  connection.begin(request, 0, likely);
  connection.flush();
  while (!heard.told) {
    epoll_event event{};
    ASSERT_EQ(::epoll_wait(epoll, &event, 1, 10'000), 1);
    connection.on_events(event.events);
  }
}

std::string frame(std::size_t length, char type, char flags, std::uint32_t stream) {
  std::string head{static_cast<char>(length >> 16), static_cast<char>(length >> 8), static_cast<char>(length), type,
                   flags};
  for (int shift = 24; shift >= 0; shift -= 8) head += static_cast<char>(stream >> shift);
  return head;
}

// Reads frames until a stream ends; its payload, and the longest DATA frame.
std::string receive_request(int fd, std::uint32_t& stream, std::size_t& longest) {
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

std::string setting(std::uint16_t name, std::uint32_t value) {
  std::string bytes{static_cast<char>(name >> 8), static_cast<char>(name)};
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift);
  return bytes;
}

// Echoes each request's message with byte `wrong` of the last answer changed.
void echo_grpc(int fd, std::size_t requests, std::uint32_t max_frame, std::size_t wrong, std::size_t& longest) {
  const std::string settings = setting(4, 0x7fffffff) + setting(5, max_frame);
  send_all(fd, frame(settings.size(), 4, 0, 0) + settings + frame(4, 8, 0, 0) + std::string("\x7f\xff\0\0", 4));
  receive_all(fd, 24);
  send_all(fd, frame(0, 4, 1, 0));  // the client's settings count from here on
  for (std::size_t i = 0; i < requests; ++i) {
    std::uint32_t stream = 0;
    std::string answer = receive_request(fd, stream, longest);
    if (i + 1 == requests && wrong < answer.size()) answer[wrong] ^= 1;
    send_all(fd, frame(1, 1, 4, stream) + "\x88");
    for (std::size_t at = 0; at < answer.size(); at += 16'384) {
      const std::string_view part = std::string_view(answer).substr(at, 16'384);
      send_all(fd, frame(part.size(), 0, 0, stream) + std::string(part));
    }
    const std::string trailers = std::string("\0\x0bgrpc-status\x01", 14) + "0";
    send_all(fd, frame(trailers.size(), 1, 5, stream) + trailers);
  }
  receive_some(fd, 1 << 20);  // until the client hangs up
}

void check_large_bodies(bool grpc, const std::function<void(int)>& serve, const Exchange& request,
                        const std::string& answer, std::size_t wrong) {
  const OneConnection server(serve);
  Heard heard;
  const int epoll = ::epoll_create1(0);
  {
    const auto connection = grpc ? make_grpc_connection(heard, "test") : make_http_connection(heard);
    const auto address = resolve("127.0.0.1", server.port());
    ASSERT_TRUE(address.ok());
    ASSERT_TRUE(connection->open(epoll, *address).ok());
    exchange(*connection, heard, epoll, request, nullptr);
    ASSERT_TRUE(heard.status.ok()) << heard.status.message();
    EXPECT_TRUE(heard.body == answer);
    const auto likely = std::make_shared<const std::string>(answer);
    exchange(*connection, heard, epoll, request, likely);
    EXPECT_TRUE(heard.body == answer);
    EXPECT_EQ(heard.place, likely->data());
    exchange(*connection, heard, epoll, request, likely);
    std::string changed = answer;
    changed[wrong] ^= 1;
    EXPECT_TRUE(heard.body == changed);
    EXPECT_NE(heard.place, likely->data());
  }
  ::close(epoll);
}

TEST(GrpcConnection, LargeMessagesLeaveInLongFramesAndAreComparedAsTheyCome) {
  const std::string message = noise(3'000'000, 1);
  for (const std::uint32_t max_frame : {16'384u, 1'048'576u}) {
    SCOPED_TRACE(max_frame);
    std::size_t longest = 0;
    check_large_bodies(
        true, [&](int fd) { echo_grpc(fd, 3, max_frame, 2'000'000 + 5, longest); }, grpc_call("M", message), message,
        2'000'000);
    EXPECT_EQ(longest, max_frame);
  }
}

TEST(HttpConnection, LargeBodiesAreComparedAsTheyCome) {
  const std::string body = noise(2'000'000, 2);
  const Exchange request{"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2000000\r\n\r\n", body};
  const auto serve = [&](int fd) {
    for (int i = 0; i < 3; ++i) {
      std::string answer = receive_all(fd, request.head.size() + body.size()).substr(request.head.size());
      if (i == 2 && answer.size() == body.size()) answer[1'999'999] ^= 1;
      send_all(fd, "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(answer.size()) + "\r\n\r\n" + answer);
    }
    receive_some(fd, 1);
  };
  check_large_bodies(false, serve, request, body, 1'999'999);
}

}  // namespace
}  // namespace argosy::load
