// What a ModelQueue tells an instance that waits in take(), beside that there is work:
// that somebody wants its thread, and that a batch it had under way is over.

#include <gtest/gtest.h>

#include <future>
#include <thread>

#include "engine/model_queue.h"

namespace argosy::engine {
namespace {

using namespace std::chrono_literals;

// Runs nothing until its one batch under way has ended, then all.
class UntilEnded final : public sched::Policy {
 public:
  Status push(sched::Pending&& item, TimePoint) override {
    queue_.push_back(std::move(item));
    return {};
  }
  sched::Decision next(std::size_t, TimePoint now) override {
    if (queue_.empty()) return sched::WaitForWork{};
    if (!ended_ && now != TimePoint::max()) return sched::WaitUntil{now + 1h};
    return sched::RunBatch{std::exchange(queue_, {})};
  }
  void ended(std::size_t, TimePoint) override { ended_ = true; }
  std::vector<sched::Dropped> expired(TimePoint) override { return {}; }
  TimePoint next_deadline() const override { return TimePoint::max(); }
  std::size_t size() const override { return queue_.size(); }
  TimePoint oldest_arrival() const override { return TimePoint::max(); }

 private:
  std::vector<sched::Pending> queue_;
  bool ended_ = false;
};

sched::Pending one() {
  return {.request = std::make_unique<infer::Request>(), .rows = 1, .arrived = SteadyClock().now()};
}

struct QueueSignals : testing::Test {
  std::future<std::size_t> takes(std::size_t instance) {
    return std::async(std::launch::async, [this, instance] { return queue.take(instance)->items.size(); });
  }
  SteadyClock clock;
  ModelQueue queue{std::make_unique<UntilEnded>(), 2, clock};
};

TEST_F(QueueSignals, AnInterruptedInstanceComesBackWithoutItemsWhereverItWas) {
  queue.interrupt(1);
  EXPECT_EQ(queue.take(1)->items.size(), 0u) << "before it came";
  auto asleep = takes(1);
  queue.interrupt(1);
  EXPECT_EQ(asleep.get(), 0u) << "asleep, or about to be";
  ASSERT_TRUE(queue.push(one(), clock.now()).status.ok());
  auto timed = takes(1);
  queue.interrupt(1);
  EXPECT_EQ(timed.get(), 0u) << "waiting for a time";
  EXPECT_EQ(queue.waiting().requests, 1u);
  queue.abandon();
}

TEST_F(QueueSignals, AnInterruptionIsForOneInstanceAndOnce) {
  queue.interrupt(0);
  EXPECT_EQ(queue.take(0)->items.size(), 0u);
  auto other = takes(1);
  auto again = takes(0);
  ASSERT_TRUE(queue.push(one(), clock.now()).status.ok());
  queue.ended(0);
  while (queue.waiting().requests > 0) std::this_thread::yield();
  queue.interrupt(0);
  queue.interrupt(1);
  EXPECT_EQ(other.get() + again.get(), 1u);
}

TEST_F(QueueSignals, WorkStaysReachableForOthersWhenOneIsInterrupted) {
  auto first = takes(0);
  ASSERT_TRUE(queue.push(one(), clock.now()).status.ok());
  auto second = takes(1);
  queue.interrupt(0);
  EXPECT_EQ(first.get(), 0u);
  queue.ended(0);
  EXPECT_EQ(second.get(), 1u);
}

TEST_F(QueueSignals, TheEndOfABatchWakesWhoWaitsForATime) {
  ASSERT_TRUE(queue.push(one(), clock.now()).status.ok());
  auto timed = takes(0);
  queue.ended(0);
  EXPECT_EQ(timed.get(), 1u);
}

TEST_F(QueueSignals, ClosedItEndsWhoeverWasInterrupted) {
  queue.interrupt(0);
  queue.close();
  EXPECT_FALSE(queue.take(0).has_value());
}

}  // namespace
}  // namespace argosy::engine
