// Inferences whose tensors lie in a client's memory on the GPU where the model computes.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <deque>

#include "engine/device_world.h"
#include "serve/http_fixture.h"
#include "serve/region_call.h"

namespace argosy::serve {
namespace {

using device::MemoryKind;
using device::SimulatedDevice;
using ::testing::HasSubstr;

constexpr int kOrdinal = 3;
constexpr std::size_t kRegion = 4096;

// Opens memory for the regions and copies nothing, unless it is told to: what reaches a
// model all the same came there without the host.
class OpensOnly final : public device::Device {
 public:
  explicit OpensOnly(device::DevicePtr to) : to_(std::move(to)) {}
  const device::Properties& properties() const override { return to_->properties(); }
  Status make_current() override { return {}; }
  Result<device::MemoryInfo> memory() override { return to_->memory(); }
  Result<bool> reaches(const Device& peer) override { return to_->reaches(peer); }
  Result<std::byte*> allocate(MemoryKind kind, std::size_t bytes) override {
    if (!copies) return internal_error("nobody copies here");
    return to_->allocate(kind, bytes);
  }
  void release(MemoryKind kind, std::byte* block) override { to_->release(kind, block); }
  Result<device::IpcMemory> open_ipc(const device::IpcHandle& handle) override { return to_->open_ipc(handle); }
  void close_ipc(std::byte* data) override { to_->close_ipc(data); }
  Result<std::unique_ptr<device::Stream>> make_stream() override { return to_->make_stream(); }
  Result<device::EventPtr> make_event() override { return to_->make_event(); }

  std::atomic<bool> copies{false};

 private:
  const device::DevicePtr to_;
};

class RegionOnDevice : public HttpServer {
 protected:
  RegionOnDevice() {
    open_ = *device::open_devices({gpu_}, {.pinned_bytes = 8u << 20, .device_bytes = 4u << 20, .least_compute = 0});
    EXPECT_TRUE(backends_->add("gpu", std::make_shared<engine::GpuBackend>(world_, open_)).ok());
    EXPECT_TRUE(backends_->add("passive", std::make_shared<engine::GpuBackend>(world_, open_, true)).ok());
    engine_->stop(clock_.now());
    metrics_ = std::make_shared<metrics::Registry>();
    engine_ = std::make_unique<engine::Engine>(engine::EngineOptions{.devices = open_}, backends_, metrics_, clock_);
    load_model("gpu");
    load_model("passive");
    block_ = *client_->allocate(MemoryKind::device, kRegion);
    EXPECT_TRUE(regions_.register_cuda("r", *client_->export_ipc(block_), kOrdinal, kRegion).ok());
    front_ = std::make_unique<Front>(options_, *engine_, control_, *metrics_, clock_, default_pool(), &regions_);
    EXPECT_TRUE(front_->start().ok());
    front_->set_state(true, true);
  }
  ~RegionOnDevice() override {
    front_->stop();
    engine_->stop(clock_.now());
    EXPECT_EQ(gpu_->violations(), std::vector<std::string>{});
  }

  // Each byte of its input, changed; named as its backend is.
  void load_model(const std::string& backend) {
    model::ModelSpec spec = engine::gpu_spec(backend);
    spec.name = backend;
    const Status loaded = engine_->load(backend, {spec});
    EXPECT_TRUE(loaded.ok()) << loaded.message();
  }
  static std::string region(std::size_t offset, std::size_t size) {
    return R"("parameters":{"shared_memory_region":"r","shared_memory_offset":)" + std::to_string(offset) +
           R"(,"shared_memory_byte_size":)" + std::to_string(size) + "}";
  }
  static std::string ask(const std::string& model, const std::string& in, std::size_t width,
                         const std::string& out = "") {
    return post("/v2/models/" + model + "/infer",
                R"({"inputs":[{"name":"INPUT0","datatype":"UINT8","shape":[1,)" + std::to_string(width) + "]," + in +
                    R"(}],"outputs":[{"name":"OUTPUT0")" + (out.empty() ? "" : "," + out) + "}]}");
  }
  static std::string list(std::span<const std::byte> bytes) {
    std::string text;
    for (const std::byte byte : bytes) text += (text.empty() ? "" : ",") + std::to_string(static_cast<int>(byte));
    return R"("data":[)" + text + "]";
  }
  static std::string changed(std::span<const std::byte> bytes) {
    std::vector<std::byte> all(bytes.begin(), bytes.end());
    for (std::byte& byte : all) byte = engine::changed(byte);
    return list(all);
  }
  std::span<const std::byte> at(std::size_t offset, std::size_t size) const { return {block_ + offset, size}; }
  void put(std::size_t offset, std::string_view text) { std::memcpy(block_ + offset, text.data(), text.size()); }

  std::shared_ptr<engine::GpuWorld> world_ = std::make_shared<engine::GpuWorld>();
  std::shared_ptr<SimulatedDevice> client_ = SimulatedDevice::make();
  std::shared_ptr<SimulatedDevice> gpu_ = SimulatedDevice::make({.ordinal = kOrdinal});
  std::shared_ptr<OpensOnly> opens_ = std::make_shared<OpensOnly>(gpu_);
  device::OpenDevices open_;
  std::byte* block_ = nullptr;
  shm::Regions regions_{{opens_}};
};

TEST_F(RegionOnDevice, AnInputReachesTheModelWithoutTheHost) {
  put(13, "straight");
  EXPECT_THAT(body_of(connect().ask(ask("gpu", region(13, 8), 8))), HasSubstr(changed(at(13, 8))));
  // The proof that the host had no hand in it: with a hand, it fails.
  const std::string passive = connect().ask(ask("passive", region(13, 8), 8));
  EXPECT_EQ(status_of(passive), 500);
  EXPECT_THAT(body_of(passive), HasSubstr("input 'INPUT0': nobody copies here"));
  EXPECT_EQ(world_->executed, 0u);
}

TEST_F(RegionOnDevice, AModelThatDoesNotEnqueueGetsItThroughTheHost) {
  opens_->copies = true;
  put(0, "around");
  EXPECT_THAT(body_of(connect().ask(ask("passive", region(0, 6), 6))), HasSubstr(changed(at(0, 6))));
  EXPECT_EQ(world_->executed, 1u);
}

TEST_F(RegionOnDevice, AnOutputGoesToTheRegionThroughPinnedMemory) {
  opens_->copies = true;
  put(0, "in and out");
  const std::string answer = connect().ask(ask("gpu", region(0, 10), 10, region(100, 10)));
  EXPECT_EQ(status_of(answer), 200) << answer;
  EXPECT_EQ(list(at(100, 10)), changed(at(0, 10)));
}

TEST_F(RegionOnDevice, RequestsWithAndWithoutRegionsShareABatch) {
  std::atomic<bool> opened{false};
  world_->work = [&](std::uint64_t number) {
    while (number == 0 && !opened) std::this_thread::yield();
  };
  std::deque<HttpClient> clients;
  constexpr std::size_t kCount = 24;
  for (std::size_t i = 0; i < kCount; ++i) {
    put(i * 16, "row number " + std::to_string(100 + i));
    clients.push_back(connect());
    clients.back().send(ask("gpu", i % 2 == 0 ? region(i * 16, 14) : list(at(i * 16, 14)), 14));
  }
  while (engine_->in_flight() < kCount) std::this_thread::yield();
  opened = true;
  for (std::size_t i = 0; i < kCount; ++i) {
    EXPECT_THAT(body_of(clients[i].answer()), HasSubstr(changed(at(i * 16, 14)))) << i;
  }
  EXPECT_LT((*engine_->statistics("gpu")).front().executions, kCount);
}

TEST_F(RegionOnDevice, BoundsAndSizesHold) {
  const auto error = [&](const std::string& in) {
    const std::string answer = connect().ask(ask("gpu", in, 8));
    return std::to_string(status_of(answer)) + " " + body_of(answer);
  };
  EXPECT_THAT(error(region(kRegion, 8)), HasSubstr("400 {\"error\":\"Invalid offset for shared memory region: 'r'"));
  EXPECT_THAT(error(region(kRegion - 7, 8)), HasSubstr("400 {\"error\":\"Invalid offset + byte size"));
  EXPECT_THAT(error(region(0, 7)), HasSubstr("Expected 8, got 7"));
  EXPECT_EQ(status_of(connect().ask(ask("gpu", region(kRegion - 8, 8), 8))), 200);
  EXPECT_EQ(world_->enqueued, 1u);
}

TEST_F(RegionOnDevice, ARegionThatIsUnregisteredInUseStaysOpenUntilTheAnswer) {
  std::atomic<bool> opened{false};
  world_->work = [&](std::uint64_t) {
    while (!opened) std::this_thread::yield();
  };
  put(0, "still here");
  HttpClient client = connect();
  client.send(ask("gpu", region(0, 10), 10));
  while (world_->enqueued == 0) std::this_thread::yield();
  regions_.unregister(shm::Kind::cuda, "r");
  EXPECT_EQ(regions_.list(shm::Kind::cuda).size(), 1u);
  opened = true;
  EXPECT_THAT(body_of(client.answer()), HasSubstr(changed(at(0, 10))));
  const TimePoint patience = clock_.now() + std::chrono::seconds(60);
  while (!regions_.list(shm::Kind::cuda).empty() && clock_.now() < patience) std::this_thread::yield();
  EXPECT_TRUE(regions_.list(shm::Kind::cuda).empty());
  client_->release(MemoryKind::device, block_);  // the device would tell if it were still in use
}

// And a second front, whose region "r" is memory that the GPU does not know: the copy of
// every request there fails.
class RegionOfAStranger : public RegionOnDevice {
 protected:
  RegionOfAStranger() {
    std::byte* const unknown = *client_->allocate(MemoryKind::device, kRegion);
    EXPECT_TRUE(strange_.register_cuda("r", *client_->export_ipc(unknown), kOrdinal, kRegion).ok());
    EXPECT_TRUE(other_.start().ok());
    other_.set_state(true, true);
    put(0, "abcdefgh");
  }
  ~RegionOfAStranger() override { other_.stop(); }

  HttpClient connect_there() { return HttpClient(other_.http_port()); }

 private:
  shm::Regions strange_{{SimulatedDevice::make({.ordinal = kOrdinal})}};
  Front other_{options_, *engine_, control_, *metrics_, clock_, default_pool(), &strange_};
};

TEST_F(RegionOfAStranger, AFailingCopyFailsItsRequestAndNoOther) {
  const std::string failed = connect_there().ask(ask("gpu", region(0, 8), 8));
  EXPECT_NE(status_of(failed), 200);
  EXPECT_THAT(body_of(failed), HasSubstr("model 'gpu': device 'simulated': move from"));
  EXPECT_THAT(body_of(connect().ask(ask("gpu", region(0, 8), 8))), HasSubstr(changed(at(0, 8))));
  EXPECT_THAT(body_of(connect().ask(ask("gpu", list(at(0, 8)), 8))), HasSubstr(changed(at(0, 8))));
}

TEST_F(RegionOfAStranger, AFailingCopyFailsNobodyItIsBatchedWith) {
  std::atomic<bool> opened{false};
  world_->work = [&](std::uint64_t number) {
    while (number == 0 && !opened) std::this_thread::yield();
  };
  std::deque<HttpClient> clients;
  constexpr std::size_t kCount = 20;
  for (std::size_t i = 0; i < kCount; ++i) {
    clients.push_back(i == 11 ? connect_there() : connect());
    clients.back().send(ask("gpu", region(0, 8), 8));
    // The first computes until all have come: were it the failing one, it would not wait.
    while (world_->enqueued == 0) std::this_thread::yield();
  }
  while (engine_->in_flight() < kCount) std::this_thread::yield();
  opened = true;
  for (std::size_t i = 0; i < kCount; ++i) {
    const std::string answer = clients[i].answer();
    EXPECT_EQ(status_of(answer) == 200, i != 11) << answer;
    EXPECT_THAT(body_of(answer), HasSubstr(i == 11 ? "device 'simulated': move from" : changed(at(0, 8))));
  }
}

TEST_F(RegionOnDevice, ADeviceInTroubleFailsWhatItWasAskedAndServesAgain) {
  put(0, "abcdefgh");
  gpu_->set_fail_one_in(1);
  const std::string failed = connect().ask(ask("gpu", region(0, 8), 8));
  gpu_->set_fail_one_in(0);
  EXPECT_EQ(status_of(failed), 500);
  EXPECT_THAT(body_of(failed), HasSubstr("model 'gpu': device 'simulated'"));
  EXPECT_THAT(body_of(connect().ask(ask("gpu", region(0, 8), 8))), HasSubstr(changed(at(0, 8))));
}

}  // namespace
}  // namespace argosy::serve
