#include "load/sender.h"

#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <string>

#include "base/time.h"
#include "load/tests/fake_server.h"

namespace argosy::load {
namespace {

TEST(Sender, AServerThatSaysGoawayGetsTheRestOverANewConnection) {
  const std::string message = "\x2a\x03\x0a\x01Y\x32\x01y";  // a ModelInferResponse with the output Y
  const std::string goaway = frame(8, 7, 0, 0) + std::string(3, '\0') + '\1' + std::string(4, '\0');
  std::size_t longest = 0;
  const FakeServer server(2, [&](int fd, int number) {
    greet_grpc(fd, 16'384);
    for (int left = number == 0 ? 1 : 3; left > 0; --left) {
      std::uint32_t stream = 0;
      const std::string asked = receive_request(fd, stream, longest);
      send_all(fd, grpc_answer(stream, asked) + (number == 0 ? goaway : ""));
    }
    // The first connection stays open: who may not use it any more has to leave it.
  });
  SendPlan plan;
  plan.authority = "test";
  const auto address = resolve("127.0.0.1", server.port());
  ASSERT_TRUE(address.ok());
  plan.address = *address;
  plan.exchanges = {grpc_call("M", message)};
  plan.expected.resize(1);
  plan.budget = 5;
  plan.start = SteadyClock().now();
  plan.warm_up = plan.window = std::chrono::hours(1);
  WindowBoard board(1);
  Sender sender(plan, board);
  sender.run();
  EXPECT_EQ(sender.unanswered(), 0);
  const auto window = board.wait_for(0, TimePoint::max());
  ASSERT_TRUE(window);
  EXPECT_EQ(window->latency.count(), 4);
  // Begun before the frame was read, and not one more of them.
  const std::map<std::string, std::uint64_t> refused{{"stream reset: REFUSED_STREAM", 1}};
  EXPECT_EQ(window->errors, refused);
}

}  // namespace
}  // namespace argosy::load
