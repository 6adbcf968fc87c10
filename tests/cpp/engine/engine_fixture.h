#pragma once

// What engine tests share: an engine with the identity backend, a backend whose
// instances the test holds back, requests with one INT32 input, and a place to hear
// answers.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "backend/identity/identity.h"
#include "base/guarded.h"
#include "engine/engine.h"

namespace argosy::engine {

using namespace std::chrono_literals;

struct Answer {
  infer::Response response;
  TimePoint when;
};

// Answers by the request's number; each request must be answered once.
class Answers {
 public:
  void put(std::int64_t number, infer::Response response) {
    {
      auto state = state_.lock();
      state->order.push_back(number);
      ++state->times[number];
      state->answers.insert_or_assign(number, Answer{std::move(response), SteadyClock().now()});
    }
    changed_.notify_all();
  }
  void wait_for(std::size_t count) {
    auto state = state_.lock();
    while (state->order.size() < count) state.wait(changed_);
  }
  Answer of(std::int64_t number) {
    auto state = state_.lock();
    while (!state->answers.contains(number)) state.wait(changed_);
    return state->answers.at(number);
  }
  std::size_t count() { return state_.lock()->order.size(); }
  std::vector<std::int64_t> order() { return state_.lock()->order; }
  std::size_t most_times() {
    std::size_t most = 0;
    auto state = state_.lock();
    for (const auto& [number, times] : state->times) most = std::max(most, times);
    return most;
  }

 private:
  struct State {
    std::vector<std::int64_t> order;
    std::map<std::int64_t, std::size_t> times;
    std::map<std::int64_t, Answer> answers;
  };
  Guarded<State> state_;
  std::condition_variable changed_;
};

class AnswerSink final : public infer::ReplySink {
 public:
  AnswerSink(std::shared_ptr<Answers> answers, std::int64_t number) : answers_(std::move(answers)), number_(number) {}
  void send(infer::Response response, bool last) override {
    if (last) answers_->put(number_, std::move(response));
  }

 private:
  std::shared_ptr<Answers> answers_;
  std::int64_t number_;
};

inline infer::RequestPtr request(std::int32_t number, const std::shared_ptr<Answers>& answers) {
  auto made = std::make_unique<infer::Request>();
  made->id = std::to_string(number);
  std::string data(4, '\0');
  std::memcpy(data.data(), &number, 4);
  made->inputs.push_back({"INPUT0", tensor::DType::int32, {1, 1}, device::Memory(Bytes::copy_of(data))});
  made->bytes = 4;
  made->timings.received = SteadyClock().now();
  made->reply.wrap([&](auto) { return std::make_unique<AnswerSink>(answers, number); });
  return made;
}

inline std::int32_t value_of(const infer::Response& response) {
  std::int32_t value = -1;
  if (response.outputs.size() == 1 && response.outputs[0].data.size() == 4) {
    std::memcpy(&value, response.outputs[0].data.data(), 4);
  }
  return value;
}

inline model::ModelSpec spec(std::string name = "m", std::string backend = "identity") {
  model::ModelSpec spec;
  spec.name = std::move(name);
  spec.backend = std::move(backend);
  spec.max_batch_rows = 8;
  spec.inputs = {{"INPUT0", tensor::DType::int32, {1}}};
  spec.outputs = {{"OUTPUT0", tensor::DType::int32, {1}}};
  spec.batching.emplace();
  spec.instances = {{"m_0", model::InstanceKind::cpu, 1, {}}};
  return spec;
}

// Instances wait in execute() until the test opens the door; then identity.
class HeldBackend final : public backend::Backend {
 public:
  struct Door {
    struct State {
      bool open = false;
      std::size_t inside = 0;
    };
    Guarded<State> state;
    std::condition_variable changed;
    Status health;  // written before the load

    void open() {
      state.lock()->open = true;
      changed.notify_all();
    }
    void wait_inside(std::size_t count) {
      auto held = state.lock();
      while (held->inside < count) held.wait(changed);
    }
    void pass() {
      auto held = state.lock();
      ++held->inside;
      changed.notify_all();
      while (!held->open) held.wait(changed);
    }
  };

  explicit HeldBackend(std::shared_ptr<Door> door) : door_(std::move(door)) {}
  Result<std::unique_ptr<backend::LoadedModel>> load(const model::SpecPtr& spec,
                                                     const backend::InstanceSlot&) override {
    return std::unique_ptr<backend::LoadedModel>(std::make_unique<Loaded>(door_, spec));
  }

 private:
  class Held final : public backend::Instance {
   public:
    Held(std::shared_ptr<Door> door, model::SpecPtr spec) : door_(std::move(door)), spec_(std::move(spec)) {}
    Status execute(backend::Batch& batch) override {
      door_->pass();
      batch.outputs = batch.inputs;
      batch.outputs[0].name = spec_->outputs[0].name;
      return {};
    }
    Status healthy() const override { return door_->health; }

   private:
    std::shared_ptr<Door> door_;
    const model::SpecPtr spec_;
  };
  class Loaded final : public backend::LoadedModel {
   public:
    Loaded(std::shared_ptr<Door> door, model::SpecPtr spec) : door_(std::move(door)), spec_(std::move(spec)) {}
    Result<std::unique_ptr<backend::Instance>> make_instance(const backend::InstanceSlot&) override {
      return std::unique_ptr<backend::Instance>(std::make_unique<Held>(door_, spec_));
    }

   private:
    std::shared_ptr<Door> door_;
    const model::SpecPtr spec_;
  };
  std::shared_ptr<Door> door_;
};

// The engine dies first: it drains, so a door left shut is opened before.
struct EngineTest : testing::Test {
  EngineTest() {
    EXPECT_TRUE(backends->add("identity", backend::make_identity_backend()).ok());
    EXPECT_TRUE(backends->add("held", std::make_shared<HeldBackend>(door)).ok());
    start({});
  }
  ~EngineTest() override {
    door->open();
    engine.reset();
  }
  void start(EngineOptions options) { engine = std::make_unique<Engine>(options, backends, metrics, clock); }
  void load(model::ModelSpec of) {
    const std::string name = of.name;
    const Status status = engine->load(name, {std::move(of)});
    ASSERT_TRUE(status.ok()) << status.message();
  }
  void submit(infer::RequestPtr of, const std::string& name = "m") {
    auto model = engine->find(name);
    ASSERT_TRUE(model.ok());
    engine->submit(*model, std::move(of));
  }
  ModelStatistics statistics(const std::string& name = "m") { return (*engine->statistics(name)).front(); }

  SteadyClock clock;
  std::shared_ptr<HeldBackend::Door> door = std::make_shared<HeldBackend::Door>();
  std::shared_ptr<backend::Registry> backends = std::make_shared<backend::Registry>();
  std::shared_ptr<metrics::Registry> metrics = std::make_shared<metrics::Registry>();
  std::shared_ptr<Answers> answers = std::make_shared<Answers>();
  std::unique_ptr<Engine> engine;
};

}  // namespace argosy::engine
