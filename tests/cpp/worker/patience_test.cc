#include "worker/patience.h"

#include <gtest/gtest.h>

#include <vector>

namespace argosy::worker {
namespace {

// Time passes by a step with each look.
class SteppingClock final : public Clock {
 public:
  explicit SteppingClock(Nanos step) : step_(step) {}
  TimePoint now() const override { return now_ += step_; }

 private:
  const Nanos step_;
  mutable TimePoint now_{};
};

int tries_of(Patience& patience, int waits) {
  int tries = 0;
  for (int i = 0; i < waits; ++i) {
    if (!patience.worth_trying()) continue;
    ++tries;
    patience.in_vain();
  }
  return tries;
}

class PatienceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (std::thread::hardware_concurrency() < 2) GTEST_SKIP() << "on one core nobody waits awake";
  }
};

TEST_F(PatienceTest, WaitsAwakeAsLongAsItPays) {
  Patience patience;
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(patience.worth_trying());
    patience.paid();
  }
}

TEST_F(PatienceTest, HardlyEverTriesWhatNeverPays) {
  Patience patience;
  tries_of(patience, 4000);
  EXPECT_LE(tries_of(patience, 100'000), 1600);
  EXPECT_GE(tries_of(patience, 100'000), 1000);  // but soon finds out when that changes
}

TEST_F(PatienceTest, TriesAgainSoonAfterItPaid) {
  Patience patience;
  tries_of(patience, 10'000);
  for (int paid = 0, waits = 0; paid < 20; ++waits) {
    ASSERT_LT(waits, 500);
    if (!patience.worth_trying()) continue;
    patience.paid();
    ++paid;
  }
  EXPECT_TRUE(patience.worth_trying());
}

// Three calls after each other and a pause: the pause must not end the patience.
TEST_F(PatienceTest, ForgivesAWaitInVainNowAndThen) {
  Patience patience;
  for (int i = 0; i < 100; ++i) {
    for (const bool comes : {true, true, false}) {
      ASSERT_TRUE(patience.worth_trying()) << i;
      comes ? patience.paid() : patience.in_vain();
    }
  }
}

TEST_F(PatienceTest, SeesWhatComesWhileItLooks) {
  Patience patience;
  int looks = 0;
  EXPECT_TRUE(patience.stay(SteppingClock(std::chrono::microseconds(1)), [&] { return ++looks == 20; }));
  EXPECT_EQ(looks, 20);
}

TEST_F(PatienceTest, GivesUpWhenItsTimeIsOver) {
  Patience patience;
  int looks = 0;
  EXPECT_FALSE(patience.stay(SteppingClock(std::chrono::microseconds(1)), [&] {
    ++looks;
    return false;
  }));
  EXPECT_GE(looks, 150);
  EXPECT_LE(looks, 450);
}

TEST_F(PatienceTest, GivesUpAtOnceWhereOthersWantTheCore) {
  Patience patience;
  int looks = 0;
  EXPECT_FALSE(patience.stay(SteppingClock(std::chrono::microseconds(160)), [&] {
    ++looks;
    return false;
  }));
  EXPECT_LE(looks, 3);
}

}  // namespace
}  // namespace argosy::worker
