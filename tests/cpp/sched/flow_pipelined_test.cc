// An instance that keeps several batches under way, under virtual time: its batches are
// those of one that runs one at a time, and no fewer rows are run.

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <limits>
#include <random>

#include "sched/flow.h"
#include "sched/queued.h"

namespace argosy::sched {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

double us_of(TimePoint moment) {
  // A nanosecond on: what comes back from a double may be just before it.
  return std::chrono::duration<double, std::micro>(moment.time_since_epoch()).count() + 0.001;
}

// One instance that assembles batches and a device that computes one after another. Its
// callers come back `away_us` after their answer, one after another through an I/O thread
// that takes `each_us` for each; or arrive at random, `rate` a microsecond.
struct Pipelined {
  std::size_t depth = 1;
  bool told = true;  // Flow is, that batches are under way
  std::uint32_t callers = 64, most = 64;
  double assemble_us = 20, batch_us = 80, row_us = 8, each_us = 10, away_us = 5;
  double rate = 0;

  struct Outcome {
    double mean_rows = 0, rows_per_ms = 0;
  };

  Outcome run(int skip, int count) const {
    Flow flow(1);
    if (told && depth > 1) flow.pipelines(0);
    std::mt19937 random(1);
    std::deque<double> arrivals;
    double io_free = 0;
    const auto come = [&](double from) {
      io_free = std::max(io_free, from) + each_us;
      arrivals.push_back(io_free);
    };
    const auto come_at_random = [&] {
      arrivals.push_back(io_free += std::exponential_distribution<double>(rate)(random));
    };
    if (rate > 0) come_at_random();
    for (std::uint32_t i = 0; rate == 0 && i < callers; ++i) come(0);

    double now = 0, assembled = kNever, asks = kNever, since = 0;
    std::uint32_t assembling = 0, queued = 0;
    struct Batch {
      std::uint32_t rows;
      double left;
    };
    std::deque<Batch> device;
    int batches = 0;
    std::uint64_t rows = 0;
    while (batches < count) {
      const double computed = device.empty() ? kNever : now + device.front().left;
      const double next = std::min({arrivals.empty() ? kNever : arrivals.front(), assembled, computed, asks});
      if (!device.empty()) device.front().left -= next - now;
      now = next;
      if (next == computed) {
        for (std::uint32_t i = 0; rate == 0 && i < device.front().rows; ++i) come(now + away_us);
        device.pop_front();
        if (told) flow.ended(0, at(now));
      } else if (next == assembled) {
        device.push_back({assembling, batch_us + row_us * assembling});
        assembling = 0;
        assembled = kNever;
      } else if (next != asks) {
        flow.arrived(1, at(now));
        ++queued;
        arrivals.pop_front();
        if (rate > 0) come_at_random();
      }
      asks = kNever;
      const std::size_t under_way = device.size() + (assembling > 0 ? 1 : 0);
      if (assembling > 0 || under_way >= depth || (under_way >= 2 && queued < most)) continue;
      flow.came_back(0, at(now));
      if (queued == 0) continue;
      const Flow::Advice advice = flow.advise(0, std::min(queued, most), most, at(now));
      if (advice.hold_until > at(now)) {
        asks = us_of(advice.hold_until);
        continue;
      }
      assembling = std::min({advice.rows, queued, most});
      assembled = now + assemble_us;
      flow.started(0, assembling, at(now));
      queued -= assembling;
      if (++batches == skip) since = now;
      if (batches > skip) rows += assembling;
    }
    return {static_cast<double>(rows) / (count - skip), static_cast<double>(rows) / (now - since) * 1e3};
  }
};

struct Case {
  const char* name;
  Pipelined machine;
};

class FlowPipelined : public testing::TestWithParam<Case> {};

TEST_P(FlowPipelined, MakesBatchesNoSmallerThanOneAtATimeAndRunsNoFewerRows) {
  Pipelined machine = GetParam().machine;
  const auto one = machine.run(100, 1100);
  for (const std::size_t depth : {2u, 3u, 4u}) {
    machine.depth = depth;
    const auto several = machine.run(100, 1100);
    // Where a batch is assembled meanwhile, more callers are on their way and fewer in one.
    EXPECT_GE(several.mean_rows, 0.85 * one.mean_rows) << "depth " << depth;
    EXPECT_GE(several.rows_per_ms, 0.99 * one.rows_per_ms) << "depth " << depth;
  }
}

INSTANTIATE_TEST_SUITE_P(Machines, FlowPipelined,
                         testing::Values(Case{"IoAsLongAsTheModel", {}}, Case{"FewCallers", {.callers = 8}},
                                         Case{"SlowModel", {.batch_us = 500, .row_us = 100}},
                                         Case{"RowsNearlyFree", {.batch_us = 2000, .row_us = 2}},
                                         Case{"RowsFree", {.batch_us = 10'000, .row_us = 1}},
                                         Case{"LongAssembly", {.assemble_us = 200, .batch_us = 300, .row_us = 4}},
                                         Case{"QuickIo", {.callers = 256, .batch_us = 300, .row_us = 4, .each_us = 1}},
                                         Case{"MoreCallersThanFit", {.callers = 200, .row_us = 8, .each_us = 2}},
                                         Case{"HalfLoaded", {.batch_us = 400, .row_us = 4, .rate = 0.01}},
                                         Case{"Loaded", {.batch_us = 400, .row_us = 4, .rate = 0.1}}),
                         [](const auto& one) { return std::string(one.param.name); });

TEST(FlowPipelined, KeepsTheDeviceBusyWhileTheNextBatchIsAssembled) {
  Pipelined machine{.callers = 200, .assemble_us = 200, .each_us = 1};
  const auto one = machine.run(100, 1100);
  machine.depth = 2;
  const auto two = machine.run(100, 1100);
  EXPECT_GE(two.rows_per_ms, 1.25 * one.rows_per_ms);
}

TEST(FlowPipelined, WouldCutBatchesIfItWereNotTold) {
  const Pipelined one;
  const Pipelined untold{.depth = 3, .told = false};
  EXPECT_LT(untold.run(100, 1100).mean_rows, 0.8 * one.run(100, 1100).mean_rows);
}

TEST(FlowPipelined, ALoneCallerIsNeverHeld) {
  Pipelined machine{.depth = 3, .callers = 1};
  const auto alone = machine.run(10, 200);
  const double round = machine.assemble_us + machine.batch_us + machine.row_us + machine.away_us + machine.each_us;
  EXPECT_NEAR(alone.rows_per_ms, 1e3 / round, 0.02 * 1e3 / round);
}

}  // namespace
}  // namespace argosy::sched
