#include "shm/courier.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <latch>
#include <numeric>
#include <vector>

#include "device/simulated/simulated_device.h"

namespace argosy::shm {
namespace {

using device::MemoryKind;
using device::Place;
using device::SimulatedDevice;

std::vector<std::byte> pattern(std::size_t size) {
  std::vector<std::byte> out(size);
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<std::byte>(i * 31 + i / 251);
  return out;
}

device::Memory on_host(const std::vector<std::byte>& bytes) { return Bytes(nullptr, bytes.data(), bytes.size()); }

// Larger than the pinned block, so that it is used again.
TEST(DeviceCopies, BringBytesThereAndBack) {
  constexpr std::size_t kSize = (std::size_t{9} << 20) + 13;
  const auto gpu = SimulatedDevice::make({.ordinal = 2});
  std::byte* const there = *gpu->allocate(MemoryKind::device, kSize);
  std::byte* const beside = *gpu->allocate(MemoryKind::device, kSize);
  const auto bytes = pattern(kSize);
  std::vector<std::byte> back(kSize);
  {
    DeviceCopies copies;
    ASSERT_TRUE(copies.copy({there, gpu->place()}, on_host(bytes), gpu).ok());
    ASSERT_TRUE(copies.copy({beside, gpu->place()}, {nullptr, there, kSize, gpu->place()}, gpu).ok());
    ASSERT_TRUE(copies.copy({back.data(), {}}, {nullptr, beside, kSize, gpu->place()}, gpu).ok());
  }
  EXPECT_EQ(back, bytes);
  EXPECT_TRUE(gpu->violations().empty());
}

TEST(DeviceCopies, CopyPinnedBytesFromWhereTheyAre) {
  constexpr std::size_t kSize = std::size_t{5} << 20;
  const auto gpu = SimulatedDevice::make({.memory_bytes = kSize + (std::size_t{4} << 20)});
  std::byte* const there = *gpu->allocate(MemoryKind::device, kSize);
  std::byte* const pinned = *gpu->allocate(MemoryKind::pinned, kSize);
  const auto bytes = pattern(kSize);
  std::memcpy(pinned, bytes.data(), kSize);
  std::vector<std::byte> back(kSize);
  DeviceCopies copies;
  ASSERT_TRUE(copies.copy({there, gpu->place()}, {nullptr, pinned, kSize, Place{MemoryKind::pinned, 0}}, gpu).ok());
  ASSERT_TRUE(copies.copy({back.data(), {}}, {nullptr, there, kSize, gpu->place()}, gpu).ok());
  EXPECT_EQ(back, bytes);
  EXPECT_TRUE(gpu->violations().empty());
}

TEST(DeviceCopies, MoveHostBytesThatOverlap) {
  auto bytes = pattern(100);
  const auto before = bytes;
  DeviceCopies copies;
  ASSERT_TRUE(copies.copy({bytes.data() + 10, {}}, device::Memory(Bytes(nullptr, bytes.data(), 90)), nullptr).ok());
  EXPECT_TRUE(std::equal(before.begin(), before.begin() + 90, bytes.begin() + 10));
}

TEST(DeviceCopies, RefuseWhatLiesOnAnotherGpu) {
  const auto gpu = SimulatedDevice::make({.ordinal = 0});
  std::byte* const there = *gpu->allocate(MemoryKind::device, 8);
  std::byte here[8];
  DeviceCopies copies;
  const device::Memory elsewhere(nullptr, there, 8, Place{MemoryKind::device, 1});
  EXPECT_EQ(copies.copy({here, {}}, elsewhere, gpu).code(), StatusCode::unsupported);
  EXPECT_EQ(copies.copy({here, {}}, elsewhere, nullptr).code(), StatusCode::unsupported);
  EXPECT_EQ(copies.copy({there, {MemoryKind::device, 1}}, device::Memory(Bytes(nullptr, here, 8)), gpu).code(),
            StatusCode::unsupported);
}

TEST(DeviceCopies, TellOfADeviceInTrouble) {
  const auto gpu = SimulatedDevice::make();
  std::byte* const there = *gpu->allocate(MemoryKind::device, 8);
  std::byte here[8];
  DeviceCopies copies;
  const device::Memory memory(nullptr, there, 8, gpu->place());
  gpu->set_fail_one_in(1);
  EXPECT_EQ(copies.copy({here, {}}, memory, gpu).code(), StatusCode::internal);
  gpu->set_fail_one_in(0);
  EXPECT_TRUE(copies.copy({here, {}}, memory, gpu).ok());
}

// A pinned block with a number in each byte, and what says whether somebody still has it.
struct Numbered {
  Numbered(const std::shared_ptr<SimulatedDevice>& gpu, std::byte number) : watch(owner) {
    std::byte* const block = *gpu->allocate(MemoryKind::pinned, 64);
    std::memset(block, std::to_integer<int>(number), 64);
    memory = {owner, block, 64, Place{MemoryKind::pinned, 0}};
    owner.reset();
  }
  std::shared_ptr<int> owner = std::make_shared<int>();
  std::weak_ptr<int> watch;
  device::Memory memory;
};

// The device takes a copy, and fails when it is asked to say when that is over.
struct HalfFailedCopy : testing::Test {
  ~HalfFailedCopy() override { EXPECT_EQ(gpu->violations(), std::vector<std::string>{}); }
  void fail_records() { gpu->set_fail_one_in(1, "record"); }
  void work_again() { gpu->set_fail_one_in(0); }

  std::shared_ptr<SimulatedDevice> gpu = SimulatedDevice::make();
  std::byte* const first = *gpu->allocate(MemoryKind::device, 64);
  std::byte* const second = *gpu->allocate(MemoryKind::device, 64);
  const std::vector<std::byte> ones = std::vector<std::byte>(64, std::byte{1});
  const std::vector<std::byte> twos = std::vector<std::byte>(64, std::byte{2});
};

TEST_F(HalfFailedCopy, NeverCarriesTheBytesOfTheNextOne) {
  DeviceCopies copies;
  fail_records();
  EXPECT_EQ(copies.copy({first, gpu->place()}, on_host(ones), gpu).code(), StatusCode::internal);
  // What goes through the same pinned block is refused until the first is over.
  EXPECT_EQ(copies.copy({second, gpu->place()}, on_host(twos), gpu).code(), StatusCode::internal);
  work_again();
  ASSERT_TRUE(copies.copy({second, gpu->place()}, on_host(twos), gpu).ok());
  EXPECT_TRUE(std::equal(ones.begin(), ones.end(), first));
  EXPECT_TRUE(std::equal(twos.begin(), twos.end(), second));
}

TEST_F(HalfFailedCopy, KeepsBothItsEndsUntilItIsOver) {
  DeviceCopies copies;
  Numbered from(gpu, std::byte{7});
  auto region = std::make_shared<int>();
  const std::weak_ptr<int> region_watch = region;
  fail_records();
  EXPECT_FALSE(copies.copy({first, gpu->place(), region}, from.memory, gpu).ok());
  region.reset();
  from.memory = {};
  EXPECT_FALSE(from.watch.expired());
  EXPECT_FALSE(region_watch.expired());
  work_again();
  ASSERT_TRUE(copies.copy({second, gpu->place()}, on_host(twos), gpu).ok());
  EXPECT_EQ(first[63], std::byte{7});
  EXPECT_TRUE(from.watch.expired());
  EXPECT_TRUE(region_watch.expired());
}

TEST_F(HalfFailedCopy, IsOverBeforeItsFailureIsToldWhereTheTroublePasses) {
  const auto uneven = SimulatedDevice::make({.seed = 3});
  std::byte* const there = *uneven->allocate(MemoryKind::device, 64);
  for (int i = 0; i < 40; ++i) {
    std::fill_n(there, 64, std::byte{0});
    DeviceCopies copies;
    ASSERT_TRUE(copies.copy({there, uneven->place()}, on_host(twos), uneven).ok());
    Numbered from(uneven, std::byte{7});
    uneven->set_fail_one_in(2, "record");
    const bool good = copies.copy({there, uneven->place()}, from.memory, uneven).ok();
    uneven->set_fail_one_in(0);
    from.memory = {};
    EXPECT_TRUE(from.watch.expired());
    EXPECT_EQ(there[63], std::byte{7}) << "whether it was told as done: " << good;
  }
}

TEST_F(HalfFailedCopy, IsWaitedForByWhoeverEnds) {
  {
    DeviceCopies copies;
    fail_records();
    EXPECT_FALSE(copies.copy({first, gpu->place()}, on_host(ones), gpu).ok());
  }
  work_again();
  EXPECT_TRUE(std::equal(ones.begin(), ones.end(), first));
}

struct Note final : Courier::Job {
  Note(std::vector<int>& to, int n, std::latch& d) : notes(to), number(n), done(d) {}
  void run(DeviceCopies&) override {
    notes.push_back(number);
    done.count_down();
  }
  std::vector<int>& notes;
  const int number;
  std::latch& done;
};

TEST(Courier, RunsJobsInTheOrderInWhichTheyCame) {
  std::vector<int> notes, expected(100);
  std::iota(expected.begin(), expected.end(), 0);
  std::latch done(100);
  Courier courier;
  for (int i = 0; i < 100; ++i) courier.post(std::make_unique<Note>(notes, i, done));
  done.wait();
  courier.stop();
  EXPECT_EQ(notes, expected);
}

TEST(Courier, LosesNothingWhenItStops) {
  std::vector<int> notes;
  std::latch done(3);
  Courier courier;
  courier.post(std::make_unique<Note>(notes, 1, done));
  courier.post(std::make_unique<Note>(notes, 2, done));
  courier.stop();
  courier.stop();
  EXPECT_EQ(notes, (std::vector<int>{1, 2}));
  courier.post(std::make_unique<Note>(notes, 3, done));  // here, at once
  EXPECT_EQ(notes, (std::vector<int>{1, 2, 3}));
}

}  // namespace
}  // namespace argosy::shm
