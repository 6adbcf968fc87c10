// Batches that are given up with work enqueued: whose memory that is until the work is over.

#include <gtest/gtest.h>

#include <stdexcept>

#include "device_rig.h"

namespace argosy::assemble {
namespace {

DeviceExecutor::UnderWay small_batch(Rig& rig) {
  const std::vector<std::byte> bytes(12, std::byte{1});
  auto request = std::make_unique<infer::Request>();
  request->rows = 1;
  request->inputs = {{"A", tensor::DType::uint8, {1, 12}, rig.received(bytes, false)},
                     {"B", tensor::DType::int32, {1, 3}, rig.received(bytes, false)}};
  DeviceExecutor::UnderWay one;
  one.batch.requests.push_back(std::move(request));
  return one;
}

// One output in memory of its own and one in the batch's, and work that looks at the pools
// when it runs. `afterwards` is called when all is enqueued.
class LookingModel final : public backend::DeviceModel {
 public:
  LookingModel(Rig& rig, std::size_t own_bytes, std::function<void()> afterwards)
      : rig_(rig), own_bytes_(own_bytes), afterwards_(std::move(afterwards)) {}

  Status enqueue(device::Stream& stream, backend::Batch& batch, backend::OutputMemory& memory) override {
    const std::size_t size = kPage;
    const auto places = *memory.reserve({&size, 1});
    auto own = *rig_.memory->take_for(stream, own_bytes_);
    const auto bytes = static_cast<std::int64_t>(own_bytes_);
    batch.outputs = {{"X", tensor::DType::uint8, {1, bytes}, std::move(own).share(own_bytes_)},
                     {"Y", tensor::DType::uint8, {1, kPage}, {nullptr, places[0], kPage, rig_.device->place()}}};
    const Status status = device::SimulatedDevice::launch(stream, [this] {
      used_when_it_ran = rig_.memory->statistics().used_bytes;
      pinned_when_it_ran = rig_.pinned->statistics().used_bytes;
    });
    afterwards_();
    return status;
  }

  std::size_t used_when_it_ran = 0;
  std::size_t pinned_when_it_ran = 0;

 private:
  Rig& rig_;
  const std::size_t own_bytes_;
  const std::function<void()> afterwards_;
};

TEST(DeviceGivingUp, AnExceptionBehindTheModelKeepsWhatTheModelReturned) {
  Rig rig({}, 2 * kPage, 64 * kPage);
  device::Lease rest;
  LookingModel model(rig, 3 * kPage, [&] { rest = *rig.pinned->take_at_once(kPage); });
  const auto make_room = []() -> Room { throw std::runtime_error("not now"); };
  DeviceExecutor executor(two_inputs(8), *rig.pipeline, model, {.shapes = {}, .make_room = make_room});
  auto one = small_batch(rig);
  EXPECT_THROW((void)executor.start(one), std::runtime_error);
  fail_batch(one.batch, internal_error("failed"));
  EXPECT_EQ(model.used_when_it_ran, 0u) << "nobody has waited for it yet";
  one.flight.reset();
  EXPECT_EQ(model.used_when_it_ran, (1 + 1 + 3) * kPage) << "inputs, what was reserved, and the model's own";
  EXPECT_EQ(rig.memory->statistics().used_bytes, 0u);
}

// The device takes work, and fails when it is asked to say when that is over.
TEST(DeviceGivingUp, MemoryWhoseWorkMayNotBeOverIsNobodysUntilItIs) {
  Rig rig({}, 64 * kPage, 64 * kPage);
  const auto break_down = [&] { rig.device->set_fail_one_in(1, "record"); };
  LookingModel model(rig, kPage, break_down);
  DeviceExecutor executor(two_inputs(8), *rig.pipeline, model, {});
  {
    auto one = small_batch(rig);
    EXPECT_FALSE(executor.start(one).ok());
    fail_batch(one.batch, internal_error("failed"));
  }
  EXPECT_EQ(rig.memory->statistics().used_bytes, 3 * kPage);
  EXPECT_GT(rig.pinned->statistics().used_bytes, 0u);
  // Nothing more is enqueued there meanwhile, and nothing is lost by trying.
  for (int i = 0; i < 3; ++i) {
    auto one = small_batch(rig);
    EXPECT_EQ(executor.start(one), internal_error("model 'm': device 'simulated': record failed, as it was told to"));
    EXPECT_EQ(one.flight, nullptr);
  }
  EXPECT_EQ(model.used_when_it_ran, 0u) << "it has not run yet";
  EXPECT_EQ(rig.memory->statistics().used_bytes, 3 * kPage);

  rig.device->set_fail_one_in(0);
  SummingModel other(rig.memory, 1);
  DeviceExecutor next(two_inputs(8), *rig.pipeline, other, {});
  auto one = small_batch(rig);
  EXPECT_TRUE(next.start(one).ok());
  EXPECT_EQ(model.used_when_it_ran, 3 * kPage);
  EXPECT_GT(model.pinned_when_it_ran, 0u);
  EXPECT_TRUE(next.await(one).ok());
  one = {};
  EXPECT_EQ(rig.memory->statistics().used_bytes, 0u);
  EXPECT_EQ(rig.pinned->statistics().used_bytes, 0u);
  EXPECT_EQ(rig.device->violations(), std::vector<std::string>{});
}

TEST(DeviceGivingUp, APipelineThatEndsFirstWaitsForIt) {
  Rig rig({}, 64 * kPage, 64 * kPage);
  LookingModel model(rig, kPage, [&] { rig.device->set_fail_one_in(1, "record"); });
  {
    DeviceExecutor executor(two_inputs(8), *rig.pipeline, model, {});
    auto one = small_batch(rig);
    EXPECT_FALSE(executor.start(one).ok());
  }
  EXPECT_EQ(model.used_when_it_ran, 0u);
  rig.pipeline.reset();  // with the device in trouble to the end
  EXPECT_EQ(model.used_when_it_ran, 3 * kPage);
  EXPECT_EQ(rig.memory->statistics().used_bytes, 0u);
  EXPECT_EQ(rig.device->violations(), std::vector<std::string>{});
}

}  // namespace
}  // namespace argosy::assemble
