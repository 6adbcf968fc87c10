#include "device/block_cache.h"

#include <gtest/gtest.h>

#include <random>

#include "device/sizes.h"

namespace argosy::device {
namespace {

bool always(const Block&) { return true; }
bool never(const Block&) { return false; }

// Blocks that are numbers: nothing here is ever touched.
std::byte* address(std::uintptr_t number) { return reinterpret_cast<std::byte*>(number); }

Block made(BlockCache& cache, std::size_t bytes, std::uintptr_t number) {
  auto decision = cache.take(bytes, true, always);
  const auto& make = std::get<BlockCache::Make>(decision);
  return {address(number), make.size, {}};
}

TEST(BlockCache, WastesAtMostAQuarter) {
  EXPECT_EQ(BlockCache::class_size(1), kPage);
  EXPECT_EQ(BlockCache::class_size(kPage + 1), kPage + kPage / 4);
  EXPECT_EQ(BlockCache::class_size(600u << 10), 640u << 10);
  EXPECT_EQ(BlockCache::class_size(1u << 20), 1u << 20);
  std::mt19937_64 random(7);
  for (int i = 0; i < 2000; ++i) {
    const std::size_t bytes = kPage + random() % (64u << 20);
    const std::size_t size = BlockCache::class_size(bytes);
    EXPECT_GE(size, bytes);
    EXPECT_LE(size - bytes, bytes / 4 + 1);
    EXPECT_EQ(BlockCache::class_size(size), size);
  }
  EXPECT_EQ(BlockCache::class_size(~std::size_t{0}), 0u);
}

TEST(BlockCache, GivesTheSameBlockAgain) {
  BlockCache cache(8 * kPage);
  cache.give_back(made(cache, 100, 1));
  auto again = cache.take(200, false, always);
  EXPECT_EQ(std::get<BlockCache::Reuse>(again).block.data, address(1));
  EXPECT_EQ(cache.statistics(), (PoolStatistics{.limit_bytes = 8 * kPage,
                                                .used_bytes = kPage,
                                                .cached_bytes = 0,
                                                .high_water_bytes = kPage,
                                                .taken = 2,
                                                .misses = 1,
                                                .refused = 0}));
}

TEST(BlockCache, MakesAnotherRatherThanWaitWhileThereIsRoom) {
  BlockCache cache(2 * kPage);
  cache.give_back(made(cache, 1, 1));
  auto decision = cache.take(1, true, never);
  EXPECT_TRUE(std::holds_alternative<BlockCache::Make>(decision));
}

TEST(BlockCache, HandsOutAPendingBlockAtTheLimitOnlyToWhoCanWait) {
  BlockCache cache(kPage);
  cache.give_back(made(cache, 1, 1));
  EXPECT_TRUE(std::holds_alternative<BlockCache::Refuse>(cache.take(1, false, never)));
  auto decision = cache.take(1, true, never);
  EXPECT_EQ(std::get<BlockCache::Reuse>(decision).block.data, address(1));
}

TEST(BlockCache, GivesUpReadyBlocksOfOtherSizesForRoom) {
  BlockCache cache(4 * kPage);
  Block one = made(cache, kPage, 1);
  Block two = made(cache, 2 * kPage, 2);
  cache.give_back(std::move(one));
  cache.give_back(std::move(two));
  auto decision = cache.take(3 * kPage, true, always);
  const auto& make = std::get<BlockCache::Make>(decision);
  EXPECT_EQ(make.size, 3 * kPage);
  ASSERT_EQ(make.evicted.size(), 1u);
  EXPECT_EQ(make.evicted[0].data, address(2));
  EXPECT_EQ(cache.statistics().cached_bytes, kPage);
}

TEST(BlockCache, NeverGivesUpAPendingBlock) {
  BlockCache cache(2 * kPage);
  cache.give_back(made(cache, kPage, 1));
  EXPECT_TRUE(std::holds_alternative<BlockCache::Refuse>(cache.take(2 * kPage, true, never)));
  EXPECT_EQ(cache.statistics().cached_bytes, kPage);
  EXPECT_EQ(cache.statistics().refused, 1u);
}

// Law: used and cached are what was taken and not given back, and what was given back
// and not taken; their sum is never over the limit, and no block has two holders.
TEST(BlockCache, KeepsItsBooksWhateverIsAsked) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    BlockCache cache(64 * kPage);
    std::vector<Block> held;
    std::map<std::byte*, std::size_t> known;  // every block that exists
    std::uintptr_t next = 1;
    const BlockCache::Ready ready = [&](const Block&) { return random() % 3 != 0; };
    for (int step = 0; step < 400; ++step) {
      if (!held.empty() && random() % 2 == 0) {
        std::swap(held[random() % held.size()], held.back());
        cache.give_back(std::move(held.back()));
        held.pop_back();
      } else if (random() % 20 == 0) {
        for (const Block& block : cache.take_ready(ready)) ASSERT_EQ(known.erase(block.data), 1u);
      } else {
        auto decision = cache.take(1 + random() % (20 * kPage), random() % 2 == 0, ready);
        if (auto* make = std::get_if<BlockCache::Make>(&decision)) {
          for (const Block& block : make->evicted) ASSERT_EQ(known.erase(block.data), 1u);
          if (random() % 8 == 0) {
            cache.not_made(make->size);
          } else {
            held.push_back({address(next++), make->size, {}});
            known[held.back().data] = make->size;
          }
        } else if (auto* reuse = std::get_if<BlockCache::Reuse>(&decision)) {
          for (const Block& block : held) ASSERT_NE(block.data, reuse->block.data);
          ASSERT_EQ(known.at(reuse->block.data), reuse->block.size);
          held.push_back(std::move(reuse->block));
        }
      }
      std::size_t used = 0;
      std::size_t all = 0;
      for (const Block& block : held) used += block.size;
      for (const auto& [data, size] : known) all += size;
      ASSERT_EQ(cache.statistics().used_bytes, used);
      ASSERT_EQ(cache.statistics().cached_bytes, all - used);
      ASSERT_LE(all, cache.statistics().limit_bytes);
    }
  }
}

}  // namespace
}  // namespace argosy::device
