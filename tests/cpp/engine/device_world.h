#pragma once

// Simulated GPUs under an engine, and a backend on them whose answer depends on every
// byte: OUTPUT0 is INPUT0, each byte changed.

#include <atomic>
#include <functional>
#include <random>

#include "backend/device_model.h"
#include "base/log.h"
#include "device/simulated/simulated_device.h"
#include "engine/engine_fixture.h"

namespace argosy::engine {

inline std::byte changed(std::byte value) { return value ^ std::byte{0x5A}; }

struct GpuWorld {
  backend::DeviceSettings settings;
  unsigned seed = 1;
  std::uint32_t own_one_in = 2;             // outputs that lie in memory the model takes itself; 0: none
  std::uint32_t fail_one_in = 0;            // enqueue() fails, or throws
  std::function<void(std::uint64_t)> work;  // runs as part of a batch's computation, given its number; null: nothing
  std::function<Status(const backend::Batch&)> refuse;  // before anything is enqueued; null: never
  std::function<void()> before_wait;                    // of a HostGpu's events; null: nothing

  std::atomic<std::uint64_t> loads{0}, instances{0}, alive{0}, enqueued{0}, computed{0};
  std::atomic<std::uint64_t> overlapping{0};  // batches enqueued before the one before was computed
  std::atomic<std::uint64_t> executed{0};
  std::atomic<std::uint64_t> tried{0};  // calls of enqueue()
  std::atomic<int> weary{0};            // so many events that a HostGpu makes next fail when they are waited for
};

class SilentLog final : public LogSink {
 public:
  void write(const LogRecord&) override {}
};

struct Silence {
  Silence() { set_log_sink(std::make_shared<SilentLog>()); }
  ~Silence() { set_log_sink(nullptr); }
};

// What a device's work waits for, so that a test decides when a batch is computed.
class Latch {
 public:
  void open() {
    *state_.lock() = true;
    changed_.notify_all();
  }
  // False: not opened within a time that no machine needs.
  bool pass() {
    auto state = state_.lock();
    const TimePoint patience = SteadyClock().now() + 60s;
    while (!*state && SteadyClock().now() < patience) state.wait_until(changed_, patience);
    return *state;
  }

 private:
  Guarded<bool> state_{false};
  std::condition_variable changed_;
};

// The processor as GPU number `ordinal`: a stream does at once what it is told. Simulated
// devices cannot read each other's pinned memory; these can. The first wait for one event in `fail_wait` fails.
class HostGpu final : public device::Device {
 public:
  HostGpu(int ordinal, unsigned fail_wait, std::shared_ptr<GpuWorld> world)
      : properties_(host_->properties()), fail_wait_(fail_wait), world_(std::move(world)) {
    properties_.ordinal = ordinal;
    properties_.uuid = "GPU-" + std::to_string(ordinal);
  }
  const device::Properties& properties() const override { return properties_; }
  Status make_current() override { return {}; }
  Result<device::MemoryInfo> memory() override { return host_->memory(); }
  Result<bool> reaches(const device::Device&) override { return true; }
  Result<std::byte*> allocate(device::MemoryKind kind, std::size_t bytes) override {
    return host_->allocate(kind, bytes);
  }
  void release(device::MemoryKind kind, std::byte* block) override { host_->release(kind, block); }
  Result<std::unique_ptr<device::Stream>> make_stream() override { return host_->make_stream(); }
  Result<device::EventPtr> make_event() override {
    class Tired final : public device::Event {
     public:
      Tired(bool fails, std::shared_ptr<GpuWorld> world) : world_(std::move(world)), fails_(fails) {}
      Result<bool> done() const override { return true; }
      Status wait() const override {
        if (world_->before_wait) world_->before_wait();
        return fails_.exchange(false) ? internal_error("the device is tired") : Status();
      }

     private:
      const std::shared_ptr<GpuWorld> world_;
      mutable std::atomic<bool> fails_;  // once
    };
    const bool weary = world_->weary > 0 && world_->weary-- > 0;
    return device::EventPtr(std::make_shared<Tired>(weary || (fail_wait_ > 0 && ++events_ % fail_wait_ == 0), world_));
  }

 private:
  const device::DevicePtr host_ = device::host_device();
  device::Properties properties_;
  const unsigned fail_wait_;
  const std::shared_ptr<GpuWorld> world_;
  std::atomic<unsigned> events_{0};
};

// Enqueues; `passive`: has no device model, and runs on the host.
class GpuBackend final : public backend::Backend {
 public:
  GpuBackend(std::shared_ptr<GpuWorld> world, device::OpenDevices open, bool passive = false)
      : world_(std::move(world)), open_(std::move(open)), passive_(passive) {}
  Result<std::unique_ptr<backend::LoadedModel>> load(const model::SpecPtr&, const backend::InstanceSlot&) override {
    ++world_->loads;
    return std::unique_ptr<backend::LoadedModel>(std::make_unique<Loaded>(world_, open_, passive_));
  }

 private:
  class GpuInstance final : public backend::Instance, backend::DeviceModel {
   public:
    GpuInstance(std::shared_ptr<GpuWorld> world, device::OpenDevice on, unsigned seed, bool passive)
        : world_(std::move(world)), on_(std::move(on)), dice_(seed), passive_(passive) {
      ++world_->instances;
      ++world_->alive;
    }
    ~GpuInstance() override { --world_->alive; }

    backend::DeviceModel* device_model() override { return passive_ ? nullptr : this; }
    backend::DeviceSettings settings() const override { return world_->settings; }

    Status execute(backend::Batch& batch) override {
      ++world_->executed;
      const auto& from = batch.inputs[0];
      std::string to(from.data.size(), '\0');
      for (std::size_t i = 0; i < to.size(); ++i) to[i] = static_cast<char>(changed(from.data.data()[i]));
      batch.outputs = {{"OUTPUT0", from.dtype, from.shape, device::Memory(Bytes::take(std::move(to)))}};
      return {};
    }

    Status enqueue(device::Stream& stream, backend::Batch& batch, backend::OutputMemory& memory) override {
      ++world_->tried;
      if (world_->refuse) {
        if (auto status = world_->refuse(batch); !status.ok()) return status;
      }
      if (world_->fail_one_in > 0) {
        const auto roll = dice_() % world_->fail_one_in;
        if (roll == 0) return internal_error("dice");
        if (roll == 1) throw std::runtime_error("dice");
      }
      const auto& from = batch.inputs[0];
      const std::size_t bytes = from.data.size();
      EXPECT_EQ(from.shape[0], static_cast<std::int64_t>(batch.run_rows));
      batch.outputs = {{"OUTPUT0", from.dtype, from.shape, {}}};
      std::byte* to = nullptr;
      if (world_->own_one_in == 0 || dice_() % world_->own_one_in != 0) {
        auto places = memory.reserve({&bytes, 1});
        if (!places.ok()) return places.status();
        to = places->front();
        batch.outputs[0].data = {nullptr, to, bytes, on_.device->place()};
      } else {
        auto lease = on_.memory->take_for(stream, bytes);
        if (!lease.ok()) return lease.status();
        to = lease->data();
        batch.outputs[0].data = (*std::move(lease)).share(bytes);
      }
      const std::uint64_t number = world_->enqueued++;
      if (number > world_->computed) ++world_->overlapping;
      const auto work = [world = world_, number, to, begin = from.data.data(), bytes] {
        if (world->work) world->work(number);
        for (std::size_t i = 0; i < bytes; ++i) to[i] = changed(begin[i]);
        ++world->computed;
      };
      if (on_.device->properties().name == "simulated") return device::SimulatedDevice::launch(stream, work);
      work();
      return {};
    }

   private:
    const std::shared_ptr<GpuWorld> world_;
    const device::OpenDevice on_;
    std::mt19937 dice_;
    const bool passive_;
  };

  class Loaded final : public backend::LoadedModel {
   public:
    Loaded(std::shared_ptr<GpuWorld> world, device::OpenDevices open, bool passive)
        : world_(std::move(world)), open_(std::move(open)), passive_(passive) {}
    Result<std::unique_ptr<backend::Instance>> make_instance(const backend::InstanceSlot& slot) override {
      for (const auto& one : open_.devices) {
        if (one.device->properties().ordinal != slot.device) continue;
        return std::unique_ptr<backend::Instance>(
            std::make_unique<GpuInstance>(world_, one, world_->seed + slot.index, passive_));
      }
      return internal_error("no such device");
    }

   private:
    const std::shared_ptr<GpuWorld> world_;
    const device::OpenDevices open_;
    const bool passive_;
  };

  const std::shared_ptr<GpuWorld> world_;
  const device::OpenDevices open_;
  const bool passive_;
};

inline model::ModelSpec gpu_spec(std::string backend = "gpu") {
  model::ModelSpec made = spec("m", std::move(backend));
  made.inputs = {{"INPUT0", tensor::DType::uint8, {-1}}};
  made.outputs = {{"OUTPUT0", tensor::DType::uint8, {-1}}};
  made.instances = {{"m_0", model::InstanceKind::gpu, 1, {}}};
  return made;
}

// An engine over one simulated GPU, or several that the host stands for, and the backends
// "gpu" and "passive".
struct GpuTest : EngineTest {
  ~GpuTest() override {
    engine.reset();
    if (simulated) {
      EXPECT_EQ(simulated->violations(), std::vector<std::string>{});
    }
    for (const auto& one : open.devices) EXPECT_EQ(one.memory->statistics().used_bytes, 0u);
    if (open.batches) {
      EXPECT_EQ(open.batches->statistics().used_bytes, 0u);
    }
  }

  struct Size {
    int count = 1;
    device::Pace pace = device::Pace::late;
    std::size_t pinned_bytes = 8u << 20;
    std::size_t device_bytes = 4u << 20;
    unsigned fail_wait = 0;
    bool host = false;  // the processor stands for it, not a simulated device
  };
  void open_gpus(Size size) {
    std::vector<device::DevicePtr> found;
    if (size.count == 1 && size.fail_wait == 0 && !size.host) {
      simulated = device::SimulatedDevice::make({.pace = size.pace, .seed = world->seed});
      found.push_back(simulated);
    } else {
      for (int ordinal = 0; ordinal < size.count; ++ordinal) {
        found.push_back(std::make_shared<HostGpu>(ordinal, size.fail_wait, world));
      }
    }
    auto opened = device::open_devices(
        found, {.pinned_bytes = size.pinned_bytes, .device_bytes = size.device_bytes, .least_compute = 0});
    ASSERT_TRUE(opened.ok());
    open = *std::move(opened);
    ASSERT_TRUE(backends->add("gpu", std::make_shared<GpuBackend>(world, open)).ok());
    ASSERT_TRUE(backends->add("passive", std::make_shared<GpuBackend>(world, open, true)).ok());
    start({.devices = open});
  }

  std::shared_ptr<GpuWorld> world = std::make_shared<GpuWorld>();
  std::shared_ptr<device::SimulatedDevice> simulated;
  device::OpenDevices open;
};

// What became of one request; its answer is looked at as it comes and not kept, because
// it holds pinned memory.
struct Outcome {
  Status status;
  bool whole = false;  // each byte is the request's own, changed
  int times = 0;
};

struct Outcomes {
  explicit Outcomes(std::size_t count) : all(count) {}
  void wait_for(std::size_t count) {
    auto held = state.lock();
    while (*held < count) held.wait(changed);
  }
  std::vector<Outcome> all;  // each written by one answer
  Guarded<std::size_t> state{std::size_t{0}};
  std::condition_variable changed;
  Guarded<std::vector<std::size_t>> order;
};

class OutcomeOf final : public infer::ReplySink {
 public:
  OutcomeOf(std::shared_ptr<Outcomes> outcomes, std::size_t number, std::string sent)
      : outcomes_(std::move(outcomes)), number_(number), sent_(std::move(sent)) {}
  void send(infer::Response response, bool) override {
    Outcome& mine = outcomes_->all[number_];
    ++mine.times;
    mine.status = response.status;
    if (response.status.ok() && response.outputs.size() == 1) {
      const auto& data = response.outputs[0].data;
      mine.whole = data.size() == sent_.size();
      for (std::size_t i = 0; mine.whole && i < data.size(); ++i) {
        mine.whole = data.data()[i] == changed(static_cast<std::byte>(sent_[i]));
      }
    }
    response = {};
    outcomes_->order.lock()->push_back(number_);
    {
      auto held = outcomes_->state.lock();
      ++*held;
    }
    outcomes_->changed.notify_all();
  }

 private:
  const std::shared_ptr<Outcomes> outcomes_;
  const std::size_t number_;
  const std::string sent_;
};

// `rows` rows of bytes; `pool`: where they were received.
inline infer::RequestPtr byte_request(std::string bytes, std::int64_t rows, std::size_t number,
                                      const std::shared_ptr<Outcomes>& outcomes, BytesPool& pool = default_pool()) {
  auto made = std::make_unique<infer::Request>();
  made->id = std::to_string(number);
  Buffer buffer = pool.allocate(bytes.size());
  std::memcpy(buffer.data(), bytes.data(), bytes.size());
  made->inputs.push_back({"INPUT0",
                          tensor::DType::uint8,
                          {rows, static_cast<std::int64_t>(bytes.size()) / rows},
                          device::Memory(std::move(buffer).freeze(bytes.size()))});
  made->bytes = bytes.size();
  made->timings.received = SteadyClock().now();
  made->reply.wrap([&](auto) { return std::make_unique<OutcomeOf>(outcomes, number, std::move(bytes)); });
  return made;
}

}  // namespace argosy::engine
