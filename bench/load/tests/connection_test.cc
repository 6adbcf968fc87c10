#include "load/connection.h"

#include <gtest/gtest.h>

#include <sys/epoll.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <random>
#include <string>

#include "load/tests/fake_server.h"

namespace argosy::load {
namespace {

std::string noise(std::size_t size, unsigned seed) {
  std::mt19937 random(seed);
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>(random());
  return text;
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

// Echoes each request's message with byte `wrong` of the last answer changed.
void echo_grpc(int fd, std::size_t requests, std::uint32_t max_frame, std::size_t wrong, std::size_t& longest) {
  greet_grpc(fd, max_frame);
  for (std::size_t i = 0; i < requests; ++i) {
    std::uint32_t stream = 0;
    std::string answer = receive_request(fd, stream, longest);
    if (i + 1 == requests && wrong < answer.size()) answer[wrong] ^= 1;
    send_all(fd, grpc_answer(stream, answer));
  }
  receive_some(fd, 1 << 20);  // until the client hangs up
}

void check_large_bodies(bool grpc, const std::function<void(int)>& serve, const Exchange& request,
                        const std::string& answer, std::size_t wrong) {
  const FakeServer server(1, [&serve](int fd, int) { serve(fd); });
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
