// A short batch is run by the thread that brings it, if an instance sleeps and may be lent.

#include <atomic>
#include <thread>

#include "engine/engine_fixture.h"
#include "engine/model_queue.h"

namespace argosy::engine {
namespace {

// Passes by what batches are said to take, and a microsecond with each look: whether one is
// a short one is not for the machine to say.
class RunClock final : public Clock {
 public:
  TimePoint now() const override { return begin_ + Nanos(passed_.fetch_add(1'000)); }
  void pass(Micros time) { passed_ += Nanos(time).count(); }

 private:
  const TimePoint begin_ = SteadyClock().now();
  mutable std::atomic<Nanos::rep> passed_{0};
};

struct Seen {
  RunClock clock;
  Guarded<std::map<std::int32_t, std::thread::id>> threads;  // by the request's number
  std::atomic<int> inside{0};
  std::atomic<bool> overlapped{false};
  std::atomic<std::int64_t> takes_us{0};
  std::atomic<std::int32_t> held{-1};  // the request's number whose batch does not end meanwhile
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
      for (const auto& request : batch.requests) {
        const std::int32_t number = std::stoi(request->id);
        (*seen->threads.lock())[number] = std::this_thread::get_id();
        while (seen->held == number) std::this_thread::yield();
      }
      seen->clock.pass(Micros(seen->takes_us.load()));
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
  LendingTest() { engine = std::make_unique<Engine>(EngineOptions{}, backends, metrics, seen->clock); }
  ~LendingTest() override { engine.reset(); }  // before its clock

  void serve() {
    ASSERT_TRUE(backends->add("seen", std::make_shared<SeenBackend>(seen)).ok());
    load(spec("m", "seen"));
  }
  infer::RequestPtr one(std::int32_t number) {
    auto made = request(number, answers);
    made->timings.received = {};  // is the engine's to say, by its clock
    return made;
  }
  void submit_or_run(std::int32_t number) {
    auto model = engine->find("m");
    ASSERT_TRUE(model.ok());
    engine->submit_or_run(*model, one(number));
  }
  bool ran_here(std::int32_t number) { return seen->threads.lock()->at(number) == std::this_thread::get_id(); }
  // How many of so many, one after the other, were run here.
  int run_here(int tries) {
    int here = 0;
    for (; tries > 0; --tries, ++next) {
      submit_or_run(next);
      answers->of(next);
      here += ran_here(next) ? 1 : 0;
    }
    return here;
  }
  // One after the other until one was: the instance may not sleep yet when it comes.
  bool runs_here() {
    const TimePoint patience = SteadyClock().now() + 60s;
    while (SteadyClock().now() < patience) {
      if (run_here(1) == 1) return true;
      std::this_thread::yield();
    }
    return false;
  }

  std::shared_ptr<Seen> seen = std::make_shared<Seen>();
  std::int32_t next = 0;
};

TEST_F(LendingTest, AShortBatchIsRunByTheThreadThatBringsIt) {
  serve();
  EXPECT_TRUE(runs_here());
  EXPECT_EQ(answers->most_times(), 1u);
}

TEST_F(LendingTest, ALongBatchIsNot) {
  serve();
  seen->takes_us = 1000;
  EXPECT_EQ(run_here(50), 0);
}

TEST_F(LendingTest, NorIsAShortOneOfAnInstanceThatKeepsToItsThread) {
  seen->any_thread = false;
  serve();
  EXPECT_EQ(run_here(1000), 0);
}

TEST_F(LendingTest, AModelThatHasBecomeSlowIsRunByItsOwnThreadAgain) {
  serve();
  ASSERT_TRUE(runs_here());
  seen->takes_us = 1000;
  run_here(50);
  EXPECT_EQ(run_here(50), 0);
}

TEST_F(LendingTest, WhatComesWhileItIsLentIsRunByItsOwnThread) {
  serve();
  const TimePoint patience = SteadyClock().now() + 60s;
  while (SteadyClock().now() < patience) {
    ASSERT_TRUE(runs_here());
    const std::int32_t first = next++, second = next++;
    seen->held = first;
    std::thread borrower([&] { submit_or_run(first); });
    const std::thread::id borrowed_by = borrower.get_id();
    while (!seen->threads.lock()->contains(first)) std::this_thread::yield();
    submit(one(second));
    seen->held = -1;
    answers->of(second);
    answers->of(first);
    borrower.join();
    EXPECT_FALSE(seen->overlapped);
    const auto threads = *seen->threads.lock();
    if (threads.at(first) != borrowed_by) continue;  // the instance did not sleep yet
    EXPECT_NE(threads.at(second), borrowed_by);
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
        auto made = one(t * kEach + i);
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
