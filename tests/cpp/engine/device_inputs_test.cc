// Inputs in memory of a GPU: which models take them as they are, and that batches of them
// and others are whole.

#include <gtest/gtest.h>

#include "engine/device_world.h"

namespace argosy::engine {
namespace {

struct DeviceInputs : GpuTest {
  std::optional<device::Place> place(model::ModelSpec of) {
    load(std::move(of));
    return takes_inputs_on(*engine->find("m"));
  }
  static model::ModelSpec on(std::vector<model::InstanceGroup> groups, std::string backend = "gpu") {
    model::ModelSpec made = gpu_spec(std::move(backend));
    made.instances = std::move(groups);
    return made;
  }
  // The bytes in memory of the GPU, for as long as this test.
  infer::RequestPtr shared(std::string bytes, std::size_t number) {
    std::byte* const block = *open.devices[0].device->allocate(device::MemoryKind::device, bytes.size());
    std::memcpy(block, bytes.data(), bytes.size());
    auto made = byte_request(bytes, 1, number, outcomes);
    const std::shared_ptr<const void> owner(
        block, [gpu = open.devices[0].device](std::byte* own) { gpu->release(device::MemoryKind::device, own); });
    made->inputs[0].data = device::Memory(owner, block, bytes.size(), open.devices[0].device->place());
    return made;
  }
  std::shared_ptr<Outcomes> outcomes = std::make_shared<Outcomes>(64);
};

constexpr auto kGpu = model::InstanceKind::gpu;

TEST_F(DeviceInputs, AreTakenWhereEveryInstanceEnqueuesOnThatGpu) {
  open_gpus({.count = 2});
  EXPECT_EQ(place(on({{"a", kGpu, 1, {1}}})), (device::Place{device::MemoryKind::device, 1}));
  EXPECT_EQ(place(on({{"a", kGpu, 2, {0}}, {"b", kGpu, 1, {0}}})), (device::Place{device::MemoryKind::device, 0}));
}

TEST_F(DeviceInputs, AreNotTakenWhereAnInstanceIsElsewhere) {
  open_gpus({.count = 2});
  EXPECT_EQ(place(on({{"a", kGpu, 1, {0, 1}}})), std::nullopt);
  EXPECT_EQ(place(on({{"a", kGpu, 1, {0}}, {"b", kGpu, 1, {1}}})), std::nullopt);
  EXPECT_EQ(place(on({{"a", kGpu, 1, {0}}}, "passive")), std::nullopt);
  EXPECT_EQ(place(spec()), std::nullopt);
}

TEST_F(DeviceInputs, AreJoinedWithOthersInOneBatch) {
  open_gpus({});
  std::atomic<bool> opened{false};
  world->work = [&](std::uint64_t number) {
    while (number == 0 && !opened) std::this_thread::yield();
  };
  load(gpu_spec());
  std::mt19937 random(5);
  const auto send = [&](std::size_t number) {
    std::string bytes(number % 5 == 0 ? 3000 : 40, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    submit(number % 2 == 0 ? shared(std::move(bytes), number) : byte_request(std::move(bytes), 1, number, outcomes));
  };
  for (std::size_t number = 0; number < 64; ++number) send(number);
  opened = true;
  outcomes->wait_for(64);
  for (std::size_t number = 0; number < 64; ++number) {
    EXPECT_TRUE(outcomes->all[number].whole) << number << ": " << outcomes->all[number].status.message();
  }
  EXPECT_LT(statistics().executions, 64u);
  EXPECT_EQ(world->executed, 0u);
}

TEST_F(DeviceInputs, AreRightWithTheHostAsTheGpu) {
  open_gpus({.count = 2});
  load(on({{"a", kGpu, 1, {0}}}));
  submit(shared("what lies on a GPU", 0));
  submit(byte_request("what came by the net", 1, 1, outcomes));
  outcomes->wait_for(2);
  EXPECT_TRUE(outcomes->all[0].whole && outcomes->all[1].whole);
}

}  // namespace
}  // namespace argosy::engine
