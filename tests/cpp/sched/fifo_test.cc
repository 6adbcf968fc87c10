#include "sched/fifo.h"

#include <map>
#include <random>

#include "sched/make_policy.h"
#include "sched/queued.h"

namespace argosy::sched {
namespace {

TEST(Fifo, IsWhatAModelWithoutASchedulerGets) {
  auto spec = batching_model(8);
  spec.batching.reset();
  const auto policy = make_policy(spec, 2);
  ASSERT_TRUE(policy->push(request("a", {.rows = 3}), at(0us)).ok());
  ASSERT_TRUE(policy->push(request("b"), at(0us)).ok());
  EXPECT_EQ(ids(policy->next(1, at(0us))), Ids{"a"}) << "requests are not merged";
  EXPECT_EQ(ids(policy->next(0, at(0us))), Ids{"b"});
  EXPECT_TRUE(waits_for_work(policy->next(0, at(0us))));
}

// Nothing is lost, repeated or reordered; what is past its deadline or cancelled does
// not run and is dropped by the next expired().
TEST(FifoProperty, EveryRequestLeavesOnceInOrder) {
  for (unsigned seed = 0; seed < 2'000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    Fifo fifo;
    TimePoint now{};
    int pushed = 0, left = 0, last_run = -1;
    std::map<int, std::shared_ptr<infer::Cancellation>> cancellations;
    const auto leave = [&](const Pending& item) {
      ++left;
      ASSERT_EQ(cancellations.erase(std::stoi(item.request->id)), 1u) << "left twice";
    };
    for (int step = 0; step < 100; ++step) {
      now += Micros(random() % 4);
      const auto arrived = std::chrono::duration_cast<Micros>(now.time_since_epoch());
      switch (random() % 4) {
        case 0:
        case 1: {
          const TimePoint deadline = random() % 3 == 0 ? now + Micros(1 + random() % 20) : TimePoint::max();
          auto item = request(std::to_string(pushed), {.arrived = arrived, .deadline = deadline});
          cancellations[pushed++] = item.request->cancellation;
          ASSERT_TRUE(fifo.push(std::move(item), now).ok());
          break;
        }
        case 2: {
          if (random() % 4 == 0 && !cancellations.empty()) cancellations.rbegin()->second->cancel();
          auto decision = fifo.next(0, now);
          if (waits_for_work(decision)) break;
          const auto& items = std::get<RunBatch>(decision).items;
          ASSERT_EQ(items.size(), 1u);
          ASSERT_FALSE(items[0].request->cancelled());
          ASSERT_GT(items[0].request->deadline, now);
          const int id = std::stoi(items[0].request->id);
          ASSERT_GT(id, last_run);
          last_run = id;
          leave(items[0]);
          break;
        }
        default:
          for (const Dropped& dropped : fifo.expired(now)) {
            ASSERT_TRUE(dropped.item.request->cancelled() || dropped.item.request->deadline <= now);
            leave(dropped.item);
          }
          ASSERT_EQ(fifo.size(), cancellations.size());
          ASSERT_GT(fifo.next_deadline(), now);
      }
    }
    for (const Dropped& dropped : fifo.expired(now)) leave(dropped.item);
    for (auto d = fifo.next(0, now); !waits_for_work(d); d = fifo.next(0, now)) leave(std::get<RunBatch>(d).items[0]);
    ASSERT_EQ(left, pushed);
  }
}

}  // namespace
}  // namespace argosy::sched
