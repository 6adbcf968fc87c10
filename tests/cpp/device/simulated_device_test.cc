#include "device/simulated/simulated_device.h"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

namespace argosy::device {
namespace {

constexpr std::size_t kBytes = 1000;

struct Rig {
  explicit Rig(SimulatedOptions options = {})
      : device(SimulatedDevice::make(options)),
        first(*device->make_stream()),
        second(*device->make_stream()),
        event(*device->make_event()),
        host(*device->allocate(MemoryKind::pinned, kBytes)),
        back(*device->allocate(MemoryKind::pinned, kBytes)),
        there(*device->allocate(MemoryKind::device, kBytes)) {
    std::memset(host, 1, kBytes);
  }
  std::shared_ptr<SimulatedDevice> device;
  std::unique_ptr<Stream> first;
  std::unique_ptr<Stream> second;
  EventPtr event;
  std::byte* host;
  std::byte* back;
  std::byte* there;
};

int value(const std::byte* at) { return std::to_integer<int>(*at); }

TEST(SimulatedDevice, RunsNothingUntilSomebodyWaitsForIt) {
  Rig rig;
  ASSERT_TRUE(rig.first->copy(rig.there, rig.host, kBytes, Direction::to_device).ok());
  ASSERT_TRUE(rig.first->record(*rig.event).ok());
  EXPECT_EQ(value(rig.there), 0xA5);
  EXPECT_FALSE(*rig.event->done());
  ASSERT_TRUE(rig.event->wait().ok());
  EXPECT_TRUE(*rig.event->done());
  EXPECT_EQ(value(rig.there), 1);
  EXPECT_EQ(value(rig.there + kBytes - 1), 1);
}

TEST(SimulatedDevice, RunsWhatAStreamWaitsForAndNoMore) {
  Rig rig;
  ASSERT_TRUE(rig.first->copy(rig.there, rig.host, kBytes, Direction::to_device).ok());
  ASSERT_TRUE(rig.first->record(*rig.event).ok());
  ASSERT_TRUE(rig.first->fill(rig.there, 9, kBytes).ok());  // behind the event
  ASSERT_TRUE(rig.second->wait(*rig.event).ok());
  ASSERT_TRUE(rig.second->copy(rig.back, rig.there, kBytes, Direction::to_host).ok());
  const auto returned = *rig.device->make_event();
  ASSERT_TRUE(rig.second->record(*returned).ok());
  ASSERT_TRUE(returned->wait().ok());
  EXPECT_EQ(value(rig.back), 1);
}

TEST(SimulatedDevice, ShowsAMissingEvent) {
  Rig rig;
  ASSERT_TRUE(rig.first->copy(rig.there, rig.host, kBytes, Direction::to_device).ok());
  ASSERT_TRUE(rig.second->copy(rig.back, rig.there, kBytes, Direction::to_host).ok());
  ASSERT_TRUE(rig.second->record(*rig.event).ok());
  ASSERT_TRUE(rig.event->wait().ok());
  EXPECT_EQ(value(rig.back), 0xA5);
}

TEST(SimulatedDevice, ShowsASourceThatWasChangedTooEarly) {
  Rig rig;
  ASSERT_TRUE(rig.first->copy(rig.there, rig.host, kBytes, Direction::to_device).ok());
  ASSERT_TRUE(rig.first->record(*rig.event).ok());
  std::memset(rig.host, 2, kBytes);
  ASSERT_TRUE(rig.event->wait().ok());
  EXPECT_EQ(value(rig.there), 2);
}

TEST(SimulatedDevice, ReportsMemoryReleasedUnderACopy) {
  Rig rig;
  ASSERT_TRUE(rig.first->copy(rig.there, rig.host, kBytes, Direction::to_device).ok());
  ASSERT_TRUE(rig.first->record(*rig.event).ok());
  rig.device->release(MemoryKind::pinned, rig.host);
  ASSERT_TRUE(rig.event->wait().ok());
  EXPECT_EQ(rig.device->violations().front(), "copy from ran after its memory was released");
}

TEST(SimulatedDevice, RefusesMemoryOfTheWrongKindOrSize) {
  Rig rig;
  std::byte plain[8] = {};
  EXPECT_EQ(rig.first->copy(rig.there, plain, 8, Direction::to_device).code(), StatusCode::invalid_argument);
  EXPECT_EQ(rig.first->copy(rig.there, rig.host, kBytes + 1, Direction::to_device).code(),
            StatusCode::invalid_argument);
  EXPECT_EQ(rig.first->copy(rig.back, rig.host, 1, Direction::to_host),
            invalid_argument("device 'simulated': copy from pinned memory, expected device"));
  EXPECT_EQ(rig.first->fill(rig.host, 0, 1).code(), StatusCode::invalid_argument);
}

TEST(SimulatedDevice, CopiesOrdinaryMemoryInTheOrderOfItsStreamAndWaits) {
  for (const Pace pace : {Pace::late, Pace::seeded, Pace::free}) {
    Rig rig({.pace = pace});
    std::vector<std::byte> ordinary(kBytes, std::byte{7});
    ASSERT_TRUE(rig.first->fill(rig.there, 3, kBytes).ok());
    ASSERT_TRUE(rig.first->record(*rig.event).ok());
    ASSERT_TRUE(rig.second->wait(*rig.event).ok());
    ASSERT_TRUE(rig.second->copy_and_wait(ordinary.data(), rig.there, kBytes, Direction::to_host).ok());
    EXPECT_EQ(ordinary, std::vector<std::byte>(kBytes, std::byte{3}));
    std::fill(ordinary.begin(), ordinary.end(), std::byte{8});
    ASSERT_TRUE(rig.second->copy_and_wait(rig.there, ordinary.data(), kBytes, Direction::to_device).ok());
    std::fill(ordinary.begin(), ordinary.end(), std::byte{9});  // it is free again
    EXPECT_EQ(value(rig.there), 8);
    EXPECT_EQ(value(rig.there + kBytes - 1), 8);
    EXPECT_EQ(rig.second->copy_and_wait(ordinary.data(), rig.host, 1, Direction::to_host).code(),
              StatusCode::invalid_argument);
  }
}

TEST(SimulatedDevice, KeepsToItsMemory) {
  Rig rig({.memory_bytes = 2 * kBytes});
  EXPECT_EQ(rig.device->allocate(MemoryKind::device, kBytes + 1).status().code(), StatusCode::resource_exhausted);
  EXPECT_EQ(rig.device->memory()->free_bytes, kBytes);
  rig.device->release(MemoryKind::device, rig.there);
  EXPECT_EQ(value(rig.there), 0xDD);
  EXPECT_TRUE(rig.device->allocate(MemoryKind::device, kBytes + 1).ok());
}

TEST(SimulatedDevice, RunsKernelsInTheOrderOfTheirStream) {
  for (const Pace pace : {Pace::late, Pace::seeded, Pace::free}) {
    Rig rig({.pace = pace, .seed = 3});
    std::vector<int> ran;
    for (int i = 0; i < 50; ++i) {
      ASSERT_TRUE(SimulatedDevice::launch(*rig.first, [&ran, i] { ran.push_back(i); }).ok());
    }
    ASSERT_TRUE(rig.first->record(*rig.event).ok());
    ASSERT_TRUE(rig.event->wait().ok());
    std::vector<int> expected(50);
    std::iota(expected.begin(), expected.end(), 0);
    EXPECT_EQ(ran, expected);
  }
}

// What of a row of unordered copies has landed while they are enqueued, as a number.
std::vector<int> course(std::uint64_t seed) {
  Rig rig({.pace = Pace::seeded, .seed = seed});
  std::vector<int> seen;
  for (int i = 0; i < 40; ++i) {
    EXPECT_TRUE(rig.first->fill(rig.there, static_cast<std::uint8_t>(i), kBytes).ok());
    EXPECT_TRUE(rig.second->copy(rig.back, rig.there, kBytes, Direction::to_host).ok());
    seen.push_back(value(rig.back));
  }
  return seen;
}

TEST(SimulatedDevice, TakesTheSameCourseForTheSameSeed) {
  EXPECT_EQ(course(1), course(1));
  EXPECT_EQ(course(2), course(2));
  EXPECT_NE(course(1), course(2));
}

TEST(SimulatedDevice, FailsAsOftenAsItIsTold) {
  Rig rig;
  rig.device->set_fail_one_in(2);
  int failed = 0;
  for (int i = 0; i < 200; ++i) failed += rig.first->fill(rig.there, 0, 1).ok() ? 0 : 1;
  EXPECT_GT(failed, 50);
  EXPECT_LT(failed, 150);
}

}  // namespace
}  // namespace argosy::device
