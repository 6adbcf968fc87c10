#include "sched/flow.h"

#include <gtest/gtest.h>

#include <deque>
#include <map>

#include "sched/queued.h"

namespace argosy::sched {
namespace {

using std::chrono::microseconds;

// A closed loop: `callers` of one row each come back `away_us` after their answer, one
// after another through an I/O thread that takes `each_us` for each.
struct ClosedLoop {
  std::uint32_t callers = 64, most = 64;
  double batch_us = 80, row_us = 8, each_us = 10, away_us = 5;

  // Sizes of the batches from `skip` to `count`.
  std::map<std::uint32_t, int> sizes(int skip, int count) const {
    Flow flow(1);
    std::deque<double> arrivals;
    for (std::uint32_t i = 0; i < callers; ++i) arrivals.push_back(i * each_us);
    double now = 0, io_free = callers * each_us;
    std::uint32_t queued = 0;
    std::map<std::uint32_t, int> seen;
    const auto arrive = [&](double until) {
      for (; !arrivals.empty() && arrivals.front() <= until; arrivals.pop_front(), ++queued) {
        flow.arrived(1, at(arrivals.front()));
      }
    };
    for (int batch = 0; batch < count;) {
      arrive(now);
      flow.came_back(0, at(now));
      if (queued == 0) {
        now = arrivals.front();
        continue;
      }
      const Flow::Advice advice = flow.advise(0, std::min(queued, most), most, at(now));
      if (advice.hold_until > at(now)) {
        // A nanosecond on: what comes back from a double may be just before it.
        const double until =
            std::chrono::duration<double, std::micro>(advice.hold_until.time_since_epoch()).count() + 0.001;
        now = arrivals.empty() ? until : std::min(until, std::max(arrivals.front(), now));
        continue;
      }
      const std::uint32_t rows = std::min({advice.rows, queued, most});
      flow.started(0, rows, at(now));
      queued -= rows;
      now += batch_us + row_us * rows;
      for (std::uint32_t i = 0; i < rows; ++i) {
        io_free = std::max(io_free, now + away_us) + each_us;
        arrivals.push_back(io_free);
      }
      if (++batch > skip) ++seen[rows];
    }
    return seen;
  }
};

int within(const std::map<std::uint32_t, int>& sizes, std::uint32_t low, std::uint32_t high) {
  int count = 0;
  for (const auto& [rows, times] : sizes) count += rows >= low && rows <= high ? times : 0;
  return count;
}

TEST(Flow, SplitsCallersInTwoWhereTheirIoTakesAsLongAsTheModel) {
  const auto sizes = ClosedLoop{}.sizes(50, 550);
  EXPECT_GE(within(sizes, 24, 40), 450) << ::testing::PrintToString(sizes);
}

TEST(Flow, WaitsForAllCallersWhereRowsAreFree) {
  const auto sizes = ClosedLoop{.batch_us = 10'000, .row_us = 1}.sizes(50, 550);
  EXPECT_GE(within(sizes, 60, 64), 450) << ::testing::PrintToString(sizes);
}

TEST(Flow, NeverHoldsALoneCaller) {
  Flow flow(1);
  double now = 0;
  for (int i = 0; i < 100; ++i) {
    now += 30;
    flow.arrived(1, at(now));
    EXPECT_LE(flow.advise(0, 1, 64, at(now)).hold_until, at(now));
    flow.started(0, 1, at(now));
    now += 500;
    flow.came_back(0, at(now));
  }
}

TEST(Flow, NeverHoldsAQueueThatFillsBatches) {
  Flow flow(1);
  double now = 0;
  for (int i = 0; i < 1000; ++i) flow.arrived(1, at(now += 1));
  for (int i = 0; i < 15; ++i) {
    const Flow::Advice advice = flow.advise(0, 64, 64, at(now));
    EXPECT_LE(advice.hold_until, at(now));
    EXPECT_EQ(advice.rows, 64u);
    flow.started(0, 64, at(now));
    flow.came_back(0, at(now += 600));
  }
}

TEST(Flow, HoldsNoLongerThanItsLimitAndNotBeyondAPauseOfTheArrivals) {
  Flow flow(1);
  double now = 0;
  for (int i = 0; i < 64; ++i) flow.arrived(1, at(now += 10));
  flow.started(0, 64, at(now));
  now += 100'000;
  flow.came_back(0, at(now));
  const double finished = now;
  for (int i = 0; i < 8; ++i) flow.arrived(1, at(now += 10));
  const Flow::Advice advice = flow.advise(0, 8, 64, at(now));
  EXPECT_GT(advice.hold_until, at(now));
  EXPECT_LE(advice.hold_until, at(finished) + Flow::kLongestHold);
  EXPECT_LE(flow.advise(0, 8, 64, advice.hold_until).hold_until, advice.hold_until);
}

TEST(Flow, ForgetsWhatLeftTheQueueUnserved) {
  Flow flow(1);
  for (int i = 0; i < 10; ++i) flow.arrived(1, at(i));
  flow.left(9);
  flow.started(0, 1, at(20));
  flow.came_back(0, at(1'000));
  flow.arrived(1, at(1'001));
  flow.started(0, 1, at(1'001));
  flow.came_back(0, at(2'000));
  flow.arrived(1, at(2'001));
  EXPECT_LE(flow.advise(0, 1, 64, at(2'001)).hold_until, at(2'001));
}

}  // namespace
}  // namespace argosy::sched
