#include "device/open_devices.h"

#include <gtest/gtest.h>

#include "device/simulated/simulated_device.h"

namespace argosy::device {
namespace {

std::vector<DevicePtr> two() { return {SimulatedDevice::make({.ordinal = 0}), SimulatedDevice::make({.ordinal = 1})}; }

TEST(OpenDevices, HaveAPoolEachAndShareTwoPinnedOnes) {
  const auto open = open_devices(
      two(), {.pinned_bytes = 1001, .device_bytes = 100, .device_bytes_of = {{1, 200}}, .least_compute = 0.0});
  ASSERT_TRUE(open.ok());
  ASSERT_EQ(open->devices.size(), 2u);
  EXPECT_EQ(open->devices[0].memory->statistics().limit_bytes, 100u);
  EXPECT_EQ(open->devices[1].memory->statistics().limit_bytes, 200u);
  EXPECT_EQ(open->received->statistics().limit_bytes, 500u);
  EXPECT_EQ(open->batches->statistics().limit_bytes, 501u);
}

TEST(OpenDevices, AreNoneWithoutAGpu) {
  const auto open = open_devices({}, {});
  ASSERT_TRUE(open.ok());
  EXPECT_TRUE(open->devices.empty());
  EXPECT_EQ(open->received, nullptr);
}

TEST(OpenDevices, LeaveOldGpusAloneAndSayWhy) {
  const auto open = open_devices({SimulatedDevice::make()}, {});
  ASSERT_TRUE(open.ok());
  EXPECT_TRUE(open->devices.empty());
  EXPECT_EQ(open->left_alone,
            std::vector<std::string>{"GPU 0 (simulated) has compute capability 0.0, expected at least 7.5"});
}

TEST(OpenDevices, RefuseABudgetForAGpuThatIsNotThere) {
  EXPECT_EQ(open_devices(two(), {.device_bytes_of = {{4, 64}}, .least_compute = 0.0}).status(),
            invalid_argument("a memory pool of 64 bytes is set for GPU 4, and this server has 2 GPUs"));
}

}  // namespace
}  // namespace argosy::device
