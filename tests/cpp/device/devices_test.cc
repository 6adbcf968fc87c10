#include <gtest/gtest.h>

#include <cstring>

#include "device/device.h"

namespace argosy::device {
namespace {

TEST(Devices, AreNoneWhereThereIsNoGpu) {
  const auto found = cuda_devices();
  ASSERT_TRUE(found.ok()) << found.status().message();
  if (!found->empty()) GTEST_SKIP() << "this machine has a GPU";
  EXPECT_TRUE(found->empty());
}

TEST(HostDevice, CopiesAtOnce) {
  const DevicePtr device = host_device();
  auto block = device->allocate(MemoryKind::device, 100);
  ASSERT_TRUE(block.ok());
  auto stream = device->make_stream();
  ASSERT_TRUE(stream.ok());
  const std::byte from[4] = {std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
  ASSERT_TRUE((*stream)->copy(*block, from, 4, Direction::to_device).ok());
  EXPECT_EQ(std::memcmp(*block, from, 4), 0);
  device->release(MemoryKind::device, *block);
}

TEST(HostDevice, SaysWhatItHasNot) {
  EXPECT_EQ(host_device()->allocate(MemoryKind::pinned, ~std::size_t{0} - 512).status().code(),
            StatusCode::resource_exhausted);
}

}  // namespace
}  // namespace argosy::device
