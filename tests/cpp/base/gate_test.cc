#include "base/gate.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace argosy {
namespace {

using namespace std::chrono_literals;

TEST(Gate, LetsNobodyInAfterItClosed) {
  Gate gate;
  EXPECT_TRUE(gate.enter());
  gate.close();
  EXPECT_FALSE(gate.enter());
  EXPECT_EQ(gate.inside(), 1u);
  gate.leave();
  EXPECT_TRUE(gate.wait_empty(TimePoint::max()));
}

TEST(Gate, WaitsForTheLastOneAndNoLongerThanTold) {
  Gate gate;
  ASSERT_TRUE(gate.enter());
  gate.close();
  EXPECT_FALSE(gate.wait_empty(SteadyClock().now() + 1ms));
  std::jthread leaver([&] { gate.leave(); });
  EXPECT_TRUE(gate.wait_empty(TimePoint::max()));
}

TEST(Gate, GivingUpEndsTheWait) {
  Gate gate;
  ASSERT_TRUE(gate.enter());
  gate.close();
  std::jthread other([&] { gate.give_up(); });
  EXPECT_FALSE(gate.wait_empty(TimePoint::max()));
  gate.leave();
}

TEST(Gate, RacingEntersAndCloseAddUp) {
  for (int round = 0; round < 200; ++round) {
    Gate gate;
    std::vector<std::jthread> threads;
    for (int t = 0; t < 3; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 50 && gate.enter(); ++i) gate.leave();
      });
    }
    gate.close();
    EXPECT_TRUE(gate.wait_empty(TimePoint::max()));
    threads.clear();
    EXPECT_EQ(gate.inside(), 0u);
  }
}

}  // namespace
}  // namespace argosy
