#include "device/pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "device/pinned_bytes_pool.h"
#include "device/simulated/simulated_device.h"

namespace argosy::device {
namespace {

constexpr std::size_t kBlock = 4096;  // the smallest

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
  PoolRig rig(4 * kBlock);
  ASSERT_TRUE(rig.pinned->take(10).ok());
  EXPECT_EQ(rig.pinned->statistics().cached_bytes, kBlock);
  EXPECT_EQ(rig.pinned->statistics().misses, 1u);
  rig.pinned->trim();
  EXPECT_EQ(rig.pinned->statistics().cached_bytes, 0u);
  EXPECT_TRUE(rig.device->violations().empty());
}

TEST(Pool, SaysWhatIsExhaustedAndByHowMuch) {
  PoolRig rig(2 * kBlock);
  auto held = rig.pinned->take(2 * kBlock);
  ASSERT_TRUE(held.ok());
  const auto refused = rig.pinned->take(100);
  EXPECT_EQ(refused.status(),
            resource_exhausted("pinned memory pool of 'simulated': no room for 100 bytes; 8192 of its 8192 bytes are "
                               "in use"));
}

TEST(Pool, NamesWhatSetsItsLimitAndCountsWhoDidWithout) {
  const auto pool = Pool::make(SimulatedDevice::make(), MemoryKind::pinned, {kBlock, false, "--some-flag"});
  EXPECT_NE(
      pool->take(2 * kBlock).status().message().find("0 of its 4096 bytes are in use; --some-flag sets the limit"),
      std::string::npos);
  EXPECT_TRUE(pool->did_without());
  EXPECT_FALSE(pool->did_without());
  EXPECT_EQ(pool->done_without(), 2u);
}

TEST(Pool, WaitsForAFencedBlockBeforeTheHostWritesIt) {
  PoolRig rig(kBlock);
  auto target = rig.memory->take_for(*rig.stream, kBlock);
  ASSERT_TRUE(target.ok());
  std::byte* const landed = target->data();
  {
    auto source = rig.pinned->take(kBlock);
    ASSERT_TRUE(source.ok());
    std::memset(source->data(), 1, kBlock);
    ASSERT_TRUE(rig.stream->copy(landed, source->data(), kBlock, Direction::to_device).ok());
    source->fence(rig.recorded(*rig.stream));
  }
  EXPECT_FALSE(rig.pinned->take_at_once(kBlock).ok());  // nobody has waited for the copy yet
  auto again = rig.pinned->take(kBlock);
  ASSERT_TRUE(again.ok());
  std::memset(again->data(), 2, kBlock);
  EXPECT_TRUE(all(landed, kBlock, 1));
}

TEST(Pool, TellsAStreamToWaitForAFencedBlockAndBlocksNobody) {
  PoolRig rig(kBlock);
  auto back = rig.pinned->take(kBlock);
  ASSERT_TRUE(back.ok());
  {
    auto block = rig.memory->take_for(*rig.stream, kBlock);
    ASSERT_TRUE(block.ok());
    ASSERT_TRUE(rig.stream->fill(block->data(), 7, kBlock).ok());
    ASSERT_TRUE(rig.stream->copy(back->data(), block->data(), kBlock, Direction::to_host).ok());
    block->fence(rig.recorded(*rig.stream));
  }
  auto block = rig.memory->take_for(*rig.other, kBlock);
  ASSERT_TRUE(block.ok());
  ASSERT_TRUE(rig.other->fill(block->data(), 9, kBlock).ok());
  EXPECT_TRUE(all(back->data(), kBlock, 0xA5));  // late: nothing has run
  ASSERT_TRUE(rig.recorded(*rig.other)->wait().ok());
  EXPECT_TRUE(all(back->data(), kBlock, 7));
}

TEST(Pool, DoesNotMakeAnUnusedBlockLookReady) {
  PoolRig rig(kBlock);
  {
    auto block = rig.memory->take_for(*rig.stream, kBlock);
    ASSERT_TRUE(block.ok());
    block->fence(rig.recorded(*rig.stream));
  }
  { ASSERT_TRUE(rig.memory->take_for(*rig.other, kBlock).ok()); }
  EXPECT_FALSE(rig.memory->take_at_once(kBlock).ok());
}

TEST(Pool, FreesOtherSizesWhenTheDeviceItselfIsFull) {
  PoolRig rig(64 * kBlock, {.memory_bytes = 4 * kBlock});
  { ASSERT_TRUE(rig.memory->take(3 * kBlock).ok()); }
  EXPECT_TRUE(rig.memory->take(2 * kBlock).ok());
  EXPECT_EQ(rig.memory->statistics().cached_bytes, 2 * kBlock);
}

TEST(Pool, CountsNothingForABlockTheDeviceRefused) {
  PoolRig rig(64 * kBlock, {.memory_bytes = 4 * kBlock});
  EXPECT_EQ(rig.memory->take(8 * kBlock).status().code(), StatusCode::resource_exhausted);
  EXPECT_EQ(rig.memory->statistics().used_bytes, 0u);
}

TEST(Pool, KeepsASharedBlockUntilItsLastSliceIsGone) {
  PoolRig rig(kBlock);
  Memory slice;
  {
    auto lease = rig.pinned->take(kBlock);
    ASSERT_TRUE(lease.ok());
    slice = (*std::move(lease)).share(100).slice(10, 20);
  }
  EXPECT_EQ(slice.place().kind, MemoryKind::pinned);
  EXPECT_EQ(rig.pinned->statistics().used_bytes, kBlock);
  slice = {};
  EXPECT_EQ(rig.pinned->statistics().used_bytes, 0u);
}

TEST(PinnedBytesPool, IsRecognisedHoweverItsBytesAreCut) {
  PoolRig rig(64 * kBlock);
  PinnedBytesPool pool(rig.pinned, default_pool());
  Buffer buffer = pool.allocate(20000);
  ASSERT_GE(buffer.capacity(), 20000u);
  const Bytes bytes = std::move(buffer).freeze(20000);
  EXPECT_TRUE(is_pinned(Memory(bytes.slice(100, 50))));
  EXPECT_FALSE(is_pinned(Memory(Bytes::copy_of("plain"))));
  EXPECT_FALSE(is_pinned(Memory()));
}

TEST(PinnedBytesPool, TakesOrdinaryMemoryForWhatIsSmallOrTooMuch) {
  PoolRig rig(8 * kBlock);
  PinnedBytesPool pool(rig.pinned, default_pool());
  EXPECT_FALSE(is_pinned(Memory(pool.allocate(100).freeze(100))));
  const Bytes first = pool.allocate(8 * kBlock).freeze(8 * kBlock);
  EXPECT_TRUE(is_pinned(Memory(first)));
  const Bytes second = pool.allocate(8 * kBlock).freeze(8 * kBlock);
  EXPECT_EQ(second.size(), 8 * kBlock);
  EXPECT_FALSE(is_pinned(Memory(second)));
}

TEST(Pool, ServesSeveralThreads) {
  PoolRig rig(16 * kBlock);
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 300; ++i) {
        auto lease = rig.pinned->take(kBlock * static_cast<std::size_t>(1 + (i + t) % 3));
        if (!lease.ok()) continue;
        std::memset(lease->data(), t, kBlock);
        EXPECT_TRUE(all(lease->data(), kBlock, t));
      }
    });
  }
  threads.clear();
  EXPECT_EQ(rig.pinned->statistics().used_bytes, 0u);
}

}  // namespace
}  // namespace argosy::device
