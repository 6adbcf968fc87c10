#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "device/simulated/simulated_device.h"

namespace argosy::device {
namespace {

TEST(Ipc, TheHostGivesAwayAndOpensPagesWhereItStandsForAGpu) {
  const auto host = host_device();
  std::byte* const block = *host->allocate(MemoryKind::device, 5000);
  std::memset(block, 5, 5000);
  const auto handle = host->export_ipc(block);
  ASSERT_TRUE(handle.ok()) << handle.status().message();
  EXPECT_EQ(*host->export_ipc(block), *handle) << "a block has one handle";
  const auto opened = host->open_ipc(*handle);
  ASSERT_TRUE(opened.ok()) << opened.status().message();
  EXPECT_NE(opened->data, block);
  EXPECT_GE(opened->size, 5000u);
  EXPECT_EQ(opened->data[4999], std::byte{5}) << "what was there before the export";
  opened->data[1] = std::byte{6};
  EXPECT_EQ(block[1], std::byte{6});
  host->release(MemoryKind::device, block);
  EXPECT_EQ(opened->data[1], std::byte{6}) << "open until it is closed";
  EXPECT_EQ(host->open_ipc(*handle).status().code(), StatusCode::invalid_argument) << "its owner has let go of it";
  host->close_ipc(opened->data);
}

TEST(Ipc, AnotherProcessSeesTheHostsPages) {
  const auto host = host_device();
  std::byte* const block = *host->allocate(MemoryKind::device, 100);
  const auto handle = *host->export_ipc(block);
  const pid_t child = ::fork();
  if (child == 0) {
    const auto opened = host->open_ipc(handle);
    if (opened.ok()) opened->data[99] = std::byte{7};
    ::_exit(opened.ok() ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(block[99], std::byte{7});
  host->release(MemoryKind::device, block);
}

TEST(Ipc, TheHostRefusesWhatIsNoHandleOfItsKind) {
  const auto host = host_device();
  EXPECT_EQ(host->open_ipc({}).status().code(), StatusCode::invalid_argument);
  std::byte* const block = *host->allocate(MemoryKind::device, 8);
  std::byte* const pinned = *host->allocate(MemoryKind::pinned, 8);
  EXPECT_FALSE(host->export_ipc(block + 1).ok());
  EXPECT_FALSE(host->export_ipc(pinned).ok());
  // A descriptor of a file whose pages could be taken away.
  auto handle = *host->export_ipc(block);
  const int file = ::memfd_create("no seals", MFD_CLOEXEC);
  ASSERT_EQ(::ftruncate(file, 4096), 0);
  std::memcpy(handle.data() + 20, &file, sizeof file);
  EXPECT_EQ(host->open_ipc(handle).status().code(), StatusCode::invalid_argument);
  ::close(file);
  host->release(MemoryKind::pinned, pinned);
  host->release(MemoryKind::device, block);
}

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
