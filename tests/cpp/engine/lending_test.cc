// A short batch is run by the thread that brings it, if an instance sleeps and may be lent.

#include <atomic>
#include <thread>

#include "engine/engine_fixture.h"
#include "engine/model_queue.h"

namespace argosy::engine {
namespace {

struct Seen {
  Guarded<std::map<std::int32_t, std::thread::id>> threads;  // by the request's number
  std::atomic<int> inside{0};
  std::atomic<bool> overlapped{false};
  std::atomic<std::int64_t> takes_us{0};
  bool any_thread = true;
};

class SeenBackend final : public backend::Backend {
 public:
  explicit SeenBackend(std::shared_ptr<Seen> seen) : seen_(std::move(seen)) {}
  Result<std::unique_ptr<backend::LoadedModel>> load(const model::SpecPtr&, const backend::InstanceSlot&) override {
    return std::unique_ptr<backend::LoadedModel>(std::make_unique<Loaded>(seen_));
  }

 private:
  struct One final : backend::Instance {
    explicit One(std::shared_ptr<Seen> to) : seen(std::move(to)) {}
    bool any_thread() const override { return seen->any_thread; }
    Status execute(backend::Batch& batch) override {
      if (seen->inside.fetch_add(1) != 0) seen->overlapped = true;
      {
        auto threads = seen->threads.lock();
        for (const auto& request : batch.requests) (*threads)[std::stoi(request->id)] = std::this_thread::get_id();
      }
      const TimePoint until = SteadyClock().now() + std::chrono::microseconds(seen->takes_us.load());
      while (SteadyClock().now() < until) {}
      batch.outputs = batch.inputs;
      batch.outputs[0].name = "OUTPUT0";
      seen->inside.fetch_sub(1);
      return {};
    }
    std::shared_ptr<Seen> seen;
  };
  struct Loaded final : backend::LoadedModel {
    explicit Loaded(std::shared_ptr<Seen> to) : seen(std::move(to)) {}
    Result<std::unique_ptr<backend::Instance>> make_instance(const backend::InstanceSlot&) override {
      return std::unique_ptr<backend::Instance>(std::make_unique<One>(seen));
    }
    std::shared_ptr<Seen> seen;
  };
  std::shared_ptr<Seen> seen_;
};

struct LendingTest : EngineTest {
  void serve() {
    ASSERT_TRUE(backends->add("seen", std::make_shared<SeenBackend>(seen)).ok());
    load(spec("m", "seen"));
  }
  void submit_or_run(std::int32_t number) {
    auto model = engine->find("m");
    ASSERT_TRUE(model.ok());
    engine->submit_or_run(*model, request(number, answers));
  }
  // One after the other, until one was run here; whether that happened.
  bool runs_here(std::int32_t first, int tries) {
    for (std::int32_t number = first; number < first + tries; ++number) {
      const std::size_t before = answers->count();
      submit_or_run(number);
      answers->wait_for(before + 1);
      if ((*seen->threads.lock())[number] == std::this_thread::get_id()) return true;
    }
    return false;
  }

  std::shared_ptr<Seen> seen = std::make_shared<Seen>();
};

TEST_F(LendingTest, AShortBatchIsRunByTheThreadThatBringsIt) {
  serve();
  EXPECT_TRUE(runs_here(0, 10'000));
  EXPECT_EQ(answers->most_times(), 1u);
}

TEST_F(LendingTest, ALongBatchIsNot) {
  serve();
  seen->takes_us = 1000;
  EXPECT_FALSE(runs_here(0, 50));
}

TEST_F(LendingTest, NorIsAShortOneOfAnInstanceThatKeepsToItsThread) {
  seen->any_thread = false;
  serve();
  EXPECT_FALSE(runs_here(0, 1000));
}

TEST_F(LendingTest, AModelThatHasBecomeSlowIsRunByItsOwnThreadAgain) {
  serve();
  ASSERT_TRUE(runs_here(0, 10'000));
  seen->takes_us = 1000;
  for (std::int32_t number = 10'000; number < 10'050; ++number) {
    const std::size_t before = answers->count();
    submit_or_run(number);
    answers->wait_for(before + 1);
  }
  EXPECT_FALSE(runs_here(20'000, 50));
}

TEST_F(LendingTest, WhatComesWhileItIsLentIsRunByItsOwnThread) {
  serve();
  // The instance may not sleep yet, or the last runs have made it a slow one: then again.
  for (std::int32_t number = 0; number < 50 * 10'000; number += 10'000) {
    seen->takes_us = 0;
    ASSERT_TRUE(runs_here(number, 9'000));
    const std::size_t before = answers->count();
    seen->takes_us = 20'000;
    std::thread borrower([&] { submit_or_run(number + 9'000); });
    const std::thread::id borrowed_by = borrower.get_id();
    while (!seen->threads.lock()->contains(number + 9'000)) std::this_thread::yield();
    submit(request(number + 9'001, answers));
    answers->wait_for(before + 2);
    borrower.join();
    EXPECT_FALSE(seen->overlapped);
    const auto threads = *seen->threads.lock();
    if (threads.at(number + 9'000) != borrowed_by) continue;
    EXPECT_NE(threads.at(number + 9'001), borrowed_by);
    return;
  }
  FAIL() << "it was never lent";
}

// Runs what there is, and counts how often an instance came for work.
class Counting final : public sched::Policy {
 public:
  explicit Counting(std::atomic<int>& came) : came_(came) {}
  Status push(sched::Pending&& item, TimePoint) override {
    queue_.push_back(std::move(item));
    return {};
  }
  sched::Decision next(std::size_t, TimePoint) override {
    ++came_;
    if (queue_.empty()) return sched::WaitForWork{};
    return sched::RunBatch{std::exchange(queue_, {})};
  }
  std::vector<sched::Dropped> expired(TimePoint) override { return {}; }
  TimePoint next_deadline() const override { return TimePoint::max(); }
  std::size_t size() const override { return queue_.size(); }
  TimePoint oldest_arrival() const override { return TimePoint::max(); }

 private:
  std::atomic<int>& came_;
  std::vector<sched::Pending> queue_;
};

// Or the policy would take the pause until the next request for a part of the batch.
TEST(LentInstance, ThePolicyHearsAtOnceThatTheBorrowedBatchIsOver) {
  SteadyClock clock;
  std::atomic<int> came{0};
  ModelQueue queue(std::make_unique<Counting>(came), 1, clock);
  queue.lend(0);
  std::thread instance([&] {
    while (queue.take(0)) {}
  });
  const auto push = [&] {
    return queue.push({.request = std::make_unique<infer::Request>(), .rows = 1, .arrived = clock.now()}, clock.now(),
                      ModelQueue::Wake::borrow);
  };
  auto pushed = push();
  while (!pushed.loan) pushed = push();
  const int before = came;
  queue.give_back(0);
  EXPECT_EQ(came, before + 1);
  queue.close();
  instance.join();
}

// Borrowers and ordinary callers from many threads, and an unload in the middle: each
// request is answered once, and an instance is never in two hands.
TEST_F(LendingTest, NothingIsLostAndNothingOverlapsUnderLoad) {
  serve();
  constexpr std::int32_t kThreads = 6, kEach = 2000;
  std::vector<std::thread> callers;
  const auto model = *engine->find("m");
  for (std::int32_t t = 0; t < kThreads; ++t) {
    callers.emplace_back([&, t] {
      for (std::int32_t i = 0; i < kEach; ++i) {
        auto made = request(t * kEach + i, answers);
        if (t % 2 == 0) {
          engine->submit_or_run(model, std::move(made));
        } else {
          engine->submit(model, std::move(made));
        }
        if (t == 0 && i == kEach / 2) {
          EXPECT_TRUE(engine->unload("m").ok());
        }
      }
    });
  }
  for (auto& caller : callers) caller.join();
  answers->wait_for(std::size_t{kThreads} * kEach);
  EXPECT_EQ(answers->most_times(), 1u);
  EXPECT_FALSE(seen->overlapped);
}

}  // namespace
}  // namespace argosy::engine
