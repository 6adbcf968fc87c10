#include <gtest/gtest.h>

#include <cstring>

#include "device/simulated/simulated_device.h"

namespace argosy::device {
namespace {

TEST(Ipc, TheHostHasNoSuchMemory) { EXPECT_EQ(host_device()->open_ipc({}).status().code(), StatusCode::unsupported); }

TEST(Ipc, OneDeviceReadsWhatAnotherHasExported) {
  const auto owner = SimulatedDevice::make(), reader = SimulatedDevice::make();
  std::byte* const block = *owner->allocate(MemoryKind::device, 100);
  std::memset(block, 5, 100);
  const auto handle = *owner->export_ipc(block);
  const auto opened = *reader->open_ipc(handle);
  EXPECT_EQ(opened.size, 100u);

  const auto stream = *reader->make_stream();
  const auto event = *reader->make_event();
  std::byte* const here = *reader->allocate(MemoryKind::pinned, 100);
  ASSERT_TRUE(stream->copy(here, opened.data + 50, 50, Direction::to_host).ok());
  ASSERT_TRUE(stream->record(*event).ok());
  ASSERT_TRUE(event->wait().ok());
  EXPECT_EQ(here[49], std::byte{5});
  EXPECT_FALSE(stream->copy(here, opened.data + 50, 51, Direction::to_host).ok());
  reader->close_ipc(opened.data);
  EXPECT_FALSE(stream->copy(here, opened.data, 1, Direction::to_host).ok());
  EXPECT_TRUE(reader->violations().empty());
}

TEST(Ipc, AHandleMayBeOpenedSeveralTimesAndIsClosedAsOften) {
  const auto owner = SimulatedDevice::make(), reader = SimulatedDevice::make();
  const auto handle = *owner->export_ipc(*owner->allocate(MemoryKind::device, 8));
  std::byte* const data = reader->open_ipc(handle)->data;
  EXPECT_EQ(reader->open_ipc(handle)->data, data);
  reader->close_ipc(data);
  reader->close_ipc(data);
  EXPECT_TRUE(reader->violations().empty());
  reader->close_ipc(data);
  EXPECT_EQ(reader->violations().size(), 1u);
}

TEST(Ipc, AHandleThatIsNoneOrItsOwnIsRefused) {
  const auto owner = SimulatedDevice::make();
  std::byte* const block = *owner->allocate(MemoryKind::device, 8);
  std::byte* const pinned = *owner->allocate(MemoryKind::pinned, 8);
  EXPECT_EQ(owner->open_ipc(*owner->export_ipc(block)).status().code(), StatusCode::invalid_argument);
  EXPECT_EQ(owner->open_ipc({}).status().code(), StatusCode::invalid_argument);
  EXPECT_FALSE(owner->export_ipc(pinned).ok());
  EXPECT_FALSE(owner->export_ipc(block + 1).ok());
}

TEST(Ipc, CopyingFromMemoryThatWasClosedShows) {
  const auto owner = SimulatedDevice::make(), reader = SimulatedDevice::make();
  const auto opened = *reader->open_ipc(*owner->export_ipc(*owner->allocate(MemoryKind::device, 8)));
  const auto stream = *reader->make_stream();
  const auto event = *reader->make_event();
  std::byte* const here = *reader->allocate(MemoryKind::pinned, 8);
  ASSERT_TRUE(stream->copy(here, opened.data, 8, Direction::to_host).ok());
  ASSERT_TRUE(stream->record(*event).ok());
  reader->close_ipc(opened.data);
  ASSERT_TRUE(event->wait().ok());
  EXPECT_FALSE(reader->violations().empty());
}

}  // namespace
}  // namespace argosy::device
