#include "device/pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "device/pinned_bytes_pool.h"
#include "device/simulated/simulated_device.h"
#include "device/sizes.h"

namespace argosy::device {
namespace {

struct PoolRig {
  explicit PoolRig(std::size_t limit, SimulatedOptions options = {}) : device(SimulatedDevice::make(options)) {
    pinned = Pool::make(device, MemoryKind::pinned, {limit, true});
    memory = Pool::make(device, MemoryKind::device, {limit, true});
    stream = *device->make_stream();
    other = *device->make_stream();
  }
  EventPtr recorded(Stream& on) {
    auto event = *device->make_event();
    EXPECT_TRUE(on.record(*event).ok());
    return event;
  }
  std::shared_ptr<SimulatedDevice> device;
  std::shared_ptr<Pool> pinned;
  std::shared_ptr<Pool> memory;
  std::unique_ptr<Stream> stream;
  std::unique_ptr<Stream> other;
};

bool all(const std::byte* data, std::size_t size, int value) {
  return std::all_of(data, data + size, [&](std::byte byte) { return byte == static_cast<std::byte>(value); });
}

TEST(Pool, GivesABlockBackToTheDeviceOnlyWhenItDies) {
  PoolRig rig(4 * kPage);
  ASSERT_TRUE(rig.pinned->take(10).ok());
  EXPECT_EQ(rig.pinned->statistics().cached_bytes, kPage);
  EXPECT_EQ(rig.pinned->statistics().misses, 1u);
  rig.pinned->trim();
  EXPECT_EQ(rig.pinned->statistics().cached_bytes, 0u);
  EXPECT_TRUE(rig.device->violations().empty());
}

struct FailingEvent final : Event {
  Result<bool> done() const override { return internal_error("the device is tired"); }
  Status wait() const override { return internal_error("the device is tired"); }
};

TEST(Pool, WaitsForEachFenceOfABlockThatDiesWithIt) {
  PoolRig rig(kPage);
  {
    auto lease = *rig.pinned->take(kPage);
    std::byte* const there = *rig.device->allocate(MemoryKind::device, kPage);
    ASSERT_TRUE(rig.stream->copy(there, lease.data(), kPage, Direction::to_device).ok());
    lease.fence(std::make_shared<FailingEvent>());
    lease.fence(rig.recorded(*rig.stream));
  }
  rig.pinned.reset();
  rig.stream.reset();  // what it still holds happens now at the latest
  EXPECT_EQ(rig.device->violations(), std::vector<std::string>{});
}

TEST(Pool, SaysWhatIsExhaustedAndByHowMuch) {
  PoolRig rig(2 * kPage);
  auto held = rig.pinned->take(2 * kPage);
  ASSERT_TRUE(held.ok());
  const auto refused = rig.pinned->take(100);
  EXPECT_EQ(refused.status(),
            resource_exhausted("pinned memory pool of 'simulated': no room for 100 bytes; 8192 of its 8192 bytes are "
                               "in use"));
}

TEST(Pool, NamesWhatSetsItsLimitAndCountsWhoDidWithout) {
  const auto pool = Pool::make(SimulatedDevice::make(), MemoryKind::pinned, {kPage, false, "--some-flag"});
  EXPECT_NE(pool->take(2 * kPage).status().message().find("0 of its 4096 bytes are in use; --some-flag sets the limit"),
            std::string::npos);
  EXPECT_TRUE(pool->did_without());
  EXPECT_FALSE(pool->did_without());
  EXPECT_EQ(pool->done_without(), 2u);
}

TEST(Pool, WaitsForAFencedBlockBeforeTheHostWritesIt) {
  PoolRig rig(kPage);
  auto target = rig.memory->take_for(*rig.stream, kPage);
  ASSERT_TRUE(target.ok());
  std::byte* const landed = target->data();
  {
    auto source = rig.pinned->take(kPage);
    ASSERT_TRUE(source.ok());
    std::memset(source->data(), 1, kPage);
    ASSERT_TRUE(rig.stream->copy(landed, source->data(), kPage, Direction::to_device).ok());
    source->fence(rig.recorded(*rig.stream));
  }
  EXPECT_FALSE(rig.pinned->take_at_once(kPage).ok());  // nobody has waited for the copy yet
  auto again = rig.pinned->take(kPage);
  ASSERT_TRUE(again.ok());
  std::memset(again->data(), 2, kPage);
  EXPECT_TRUE(all(landed, kPage, 1));
}

TEST(Pool, TellsAStreamToWaitForAFencedBlockAndBlocksNobody) {
  PoolRig rig(kPage);
  auto back = rig.pinned->take(kPage);
  ASSERT_TRUE(back.ok());
  {
    auto block = rig.memory->take_for(*rig.stream, kPage);
    ASSERT_TRUE(block.ok());
    ASSERT_TRUE(rig.stream->fill(block->data(), 7, kPage).ok());
    ASSERT_TRUE(rig.stream->copy(back->data(), block->data(), kPage, Direction::to_host).ok());
    block->fence(rig.recorded(*rig.stream));
  }
  auto block = rig.memory->take_for(*rig.other, kPage);
  ASSERT_TRUE(block.ok());
  ASSERT_TRUE(rig.other->fill(block->data(), 9, kPage).ok());
  EXPECT_TRUE(all(back->data(), kPage, 0xA5));  // late: nothing has run
  ASSERT_TRUE(rig.recorded(*rig.other)->wait().ok());
  EXPECT_TRUE(all(back->data(), kPage, 7));
}

TEST(Pool, DoesNotMakeAnUnusedBlockLookReady) {
  PoolRig rig(kPage);
  {
    auto block = rig.memory->take_for(*rig.stream, kPage);
    ASSERT_TRUE(block.ok());
    block->fence(rig.recorded(*rig.stream));
  }
  { ASSERT_TRUE(rig.memory->take_for(*rig.other, kPage).ok()); }
  EXPECT_FALSE(rig.memory->take_at_once(kPage).ok());
}

TEST(Pool, FreesOtherSizesWhenTheDeviceItselfIsFull) {
  PoolRig rig(64 * kPage, {.memory_bytes = 4 * kPage});
  { ASSERT_TRUE(rig.memory->take(3 * kPage).ok()); }
  EXPECT_TRUE(rig.memory->take(2 * kPage).ok());
  EXPECT_EQ(rig.memory->statistics().cached_bytes, 2 * kPage);
}

TEST(Pool, CountsNothingForABlockTheDeviceRefused) {
  PoolRig rig(64 * kPage, {.memory_bytes = 4 * kPage});
  EXPECT_EQ(rig.memory->take(8 * kPage).status().code(), StatusCode::resource_exhausted);
  EXPECT_EQ(rig.memory->statistics().used_bytes, 0u);
}

TEST(Pool, KeepsASharedBlockUntilItsLastSliceIsGone) {
  PoolRig rig(kPage);
  Memory slice;
  {
    auto lease = rig.pinned->take(kPage);
    ASSERT_TRUE(lease.ok());
    slice = (*std::move(lease)).share(100).slice(10, 20);
  }
  EXPECT_EQ(slice.place().kind, MemoryKind::pinned);
  EXPECT_EQ(rig.pinned->statistics().used_bytes, kPage);
  slice = {};
  EXPECT_EQ(rig.pinned->statistics().used_bytes, 0u);
}

TEST(PinnedBytesPool, IsRecognisedHoweverItsBytesAreCut) {
  PoolRig rig(64 * kPage);
  PinnedBytesPool pool(rig.pinned, default_pool());
  Buffer buffer = pool.allocate(20000);
  ASSERT_GE(buffer.capacity(), 20000u);
  const Bytes bytes = std::move(buffer).freeze(20000);
  EXPECT_TRUE(is_pinned(Memory(bytes.slice(100, 50))));
  EXPECT_FALSE(is_pinned(Memory(Bytes::copy_of("plain"))));
  EXPECT_FALSE(is_pinned(Memory()));
}

TEST(PinnedBytesPool, TakesOrdinaryMemoryForWhatIsSmallOrTooMuch) {
  PoolRig rig(8 * kPage);
  PinnedBytesPool pool(rig.pinned, default_pool());
  EXPECT_FALSE(is_pinned(Memory(pool.allocate(100).freeze(100))));
  const Bytes first = pool.allocate(8 * kPage).freeze(8 * kPage);
  EXPECT_TRUE(is_pinned(Memory(first)));
  const Bytes second = pool.allocate(8 * kPage).freeze(8 * kPage);
  EXPECT_EQ(second.size(), 8 * kPage);
  EXPECT_FALSE(is_pinned(Memory(second)));
}

TEST(Pool, ServesSeveralThreads) {
  PoolRig rig(16 * kPage);
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 300; ++i) {
        auto lease = rig.pinned->take(kPage * static_cast<std::size_t>(1 + (i + t) % 3));
        if (!lease.ok()) continue;
        std::memset(lease->data(), t, kPage);
        EXPECT_TRUE(all(lease->data(), kPage, t));
      }
    });
  }
  threads.clear();
  EXPECT_EQ(rig.pinned->statistics().used_bytes, 0u);
}

}  // namespace
}  // namespace argosy::device
