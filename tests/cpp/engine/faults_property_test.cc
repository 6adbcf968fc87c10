// The law: whatever fails, every request is answered exactly once, an ok answer is its
// own, and what is counted adds up to what was sent.

#include <atomic>
#include <new>
#include <random>
#include <stdexcept>
#include <thread>

#include "base/log.h"
#include "engine/engine_fixture.h"

namespace argosy::engine {
namespace {

class FaultyPool final : public BytesPool {
 public:
  Buffer allocate(std::size_t size) override {
    const auto turn = turn_.fetch_add(1);
    if (turn % 7 == 3) return {};
    if (turn % 11 == 5) throw std::bad_alloc();
    return default_pool().allocate(size);
  }

 private:
  std::atomic<unsigned> turn_{0};
};

// Fails, throws, drops, keeps and answers late, by its own dice.
class FaultyInstance final : public backend::Instance {
 public:
  FaultyInstance(backend::Intake intake, unsigned seed) : intake_(intake), dice_(seed) {}
  ~FaultyInstance() override { answer_kept(); }
  backend::Intake intake() const override { return intake_; }

  Status execute(backend::Batch& batch) override {
    const auto roll = dice_() % 12;
    if (roll == 0) return internal_error("dice");
    if (roll == 1) throw std::runtime_error("dice");
    if (roll == 2) throw std::bad_alloc();
    if (intake_ == backend::Intake::gathered) {
      if (roll == 3) return {};  // outputs missing
      batch.outputs = batch.inputs;
      batch.outputs[0].name = "OUTPUT0";
      return {};
    }
    answer_kept();
    for (auto& request : batch.requests) {
      batch.answers.push_back(answer_to(*request));
      const auto fate = dice_() % 5;
      if (fate == 0) request.reset();
      if (fate == 1) kept_.push_back(std::move(request));
      if (fate == 2) request->reply.stream(answer_to(*request));
    }
    if (roll == 4) batch.answers.pop_back();
    return {};
  }

 private:
  static infer::Response answer_to(const infer::Request& request) {
    infer::Response response;
    response.outputs = request.inputs;
    return response;
  }
  void answer_kept() {
    for (auto& request : kept_) std::move(request->reply).finish(answer_to(*request));
    kept_.clear();
  }
  const backend::Intake intake_;
  std::mt19937 dice_;
  std::vector<infer::RequestPtr> kept_;
};

class FaultyBackend final : public backend::Backend {
 public:
  FaultyBackend(backend::Intake intake, unsigned seed) : intake_(intake), seed_(seed) {}
  Result<std::unique_ptr<backend::LoadedModel>> load(const model::SpecPtr&, const backend::InstanceSlot&) override {
    class Loaded final : public backend::LoadedModel {
     public:
      Loaded(backend::Intake intake, unsigned seed) : intake_(intake), seed_(seed) {}
      Result<std::unique_ptr<backend::Instance>> make_instance(const backend::InstanceSlot& slot) override {
        return std::unique_ptr<backend::Instance>(std::make_unique<FaultyInstance>(intake_, seed_ + slot.index));
      }

     private:
      backend::Intake intake_;
      unsigned seed_;
    };
    return std::unique_ptr<backend::LoadedModel>(std::make_unique<Loaded>(intake_, seed_));
  }

 private:
  backend::Intake intake_;
  unsigned seed_;
};

class SilentLog final : public LogSink {
 public:
  void write(const LogRecord&) override {}
};

struct FaultsProperty : EngineTest, testing::WithParamInterface<unsigned> {};

TEST_P(FaultsProperty, EveryRequestIsAnsweredExactlyOnce) {
  const unsigned seed = GetParam();
  SCOPED_TRACE("seed " + std::to_string(seed));
  set_log_sink(std::make_shared<SilentLog>());
  FaultyPool pool;
  const auto intake = seed % 2 ? backend::Intake::pieces : backend::Intake::gathered;
  ASSERT_TRUE(backends->add("faulty", std::make_shared<FaultyBackend>(intake, seed)).ok());
  start({.max_queued_bytes = 400, .pool = &pool});
  auto made = spec("m", "faulty");
  made.instances[0].count = 1 + seed % 3;
  made.decoupled = seed % 4 == 3;
  made.batching->preserve_ordering = seed % 3 == 0;
  made.batching->default_policy.max_queue_size = 64;
  if (seed % 5 == 0) made.batching->max_queue_delay = 200us;
  load(made);

  constexpr int kClients = 3, kEach = 1500;
  std::vector<std::jthread> clients;
  for (int c = 0; c < kClients; ++c) {
    // Found here: when a client gets to run, the model may have gone already.
    clients.emplace_back([&, c, handle = *engine->find("m")]() mutable {
      std::mt19937 dice(seed * 31 + static_cast<unsigned>(c));
      std::vector<std::shared_ptr<infer::Cancellation>> cancellations;
      for (int i = 0; i < kEach; ++i) {
        auto one = request(c * kEach + i, answers);
        if (dice() % 3 == 0) cancellations.push_back(one->cancellation = std::make_shared<infer::Cancellation>());
        if (dice() % 4 == 0) one->timeout_us = 1 + dice() % 2000;
        if (dice() % 50 == 0) one->inputs.clear();
        if (i % 100 == 50) {
          if (auto found = engine->find("m"); found.ok()) handle = *found;
        }
        engine->submit(handle, std::move(one));
        if (!cancellations.empty() && dice() % 2 == 0) cancellations[dice() % cancellations.size()]->cancel();
      }
    });
  }
  for (int i = 0; i < 3; ++i) load(made);
  if (seed % 4 == 1) {
    EXPECT_TRUE(engine->unload("m").ok());
  }
  if (seed % 4 == 2) engine->stop(clock.now() + 1ms);
  clients.clear();
  // Requests an instance keeps are answered when it goes: the deadline is what ends them.
  engine->stop(clock.now() + 200ms);
  set_log_sink(nullptr);

  ASSERT_EQ(answers->count(), static_cast<std::size_t>(kClients * kEach));
  EXPECT_EQ(answers->most_times(), 1u);
  EXPECT_EQ(engine->in_flight(), 0u);
  for (int i = 0; i < kClients * kEach; ++i) {
    const auto response = answers->of(i).response;
    if (response.status.ok()) {
      ASSERT_EQ(value_of(response), i);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, FaultsProperty, testing::Range(0u, 12u));

}  // namespace
}  // namespace argosy::engine
