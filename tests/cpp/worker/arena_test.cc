#include "worker/arena.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "worker/sizes.h"

namespace argosy::worker {
namespace {

std::shared_ptr<Arena> arena(std::size_t capacity, std::size_t kept = kMega) {
  return *Arena::create("arena test", capacity, kept);
}

TEST(Arena, ABlockIsFreeWhenItsLastHolderLetsGo) {
  auto made = arena(4 * kMega);
  Bytes bytes = made->allocate(kMega).freeze(kMega);
  Bytes part = bytes.slice(10, 20);
  bytes = {};
  EXPECT_EQ(made->used(), kMega);
  part = {};
  EXPECT_EQ(made->used(), 0u);
}

TEST(Arena, ShowsBytesWhereTheyLieInTheirBlock) {
  auto made = arena(4 * kMega);
  const Buffer before = made->allocate(100);
  const Bytes message = made->allocate(kMega).freeze(kMega);
  const auto place = made->show(message.slice(128, 1000));
  ASSERT_TRUE(place);
  EXPECT_EQ(made->at(place->block), message.data());
  EXPECT_EQ(made->at(place->offset), message.data() + 128);
}

TEST(Arena, ShowsNoByteTwice) {
  auto made = arena(4 * kMega);
  const Bytes message = made->allocate(kMega).freeze(kMega);
  ASSERT_TRUE(made->show(message.slice(100, 1000)));
  EXPECT_FALSE(made->show(message.slice(100, 1000)));
  EXPECT_FALSE(made->show(message.slice(1099, 10)));
  EXPECT_FALSE(made->show(message.slice(0, 101)));
  EXPECT_FALSE(made->show(message.slice(50, 5000)));
  EXPECT_FALSE(made->show(message.slice(500, 1)));
  EXPECT_TRUE(made->show(message.slice(1100, 10)));
  EXPECT_TRUE(made->show(message.slice(0, 100)));  // in any order
}

TEST(Arena, ShowsABlockAnewThatWasFreeInBetween) {
  auto made = arena(kMega);
  for (int i = 0; i < 3; ++i) {
    const Bytes all = made->allocate(kMega).freeze(kMega);
    EXPECT_TRUE(made->show(all));
  }
}

TEST(Arena, HasNoPlaceForBytesOfOtherMemory) {
  auto made = arena(kMega);
  auto other = arena(kMega);
  EXPECT_FALSE(made->show(Bytes::copy_of(std::string_view("elsewhere"))));
  EXPECT_FALSE(made->show(other->allocate(100).freeze(100)));
  EXPECT_FALSE(made->show({}));
  Bytes gone(nullptr, made->at(0), 100);  // of no block
  EXPECT_FALSE(made->show(gone));
}

TEST(Arena, LeavesFreeWhatIsToBeSpared) {
  auto made = arena(4 * kMega);
  const Buffer first = made->allocate(2 * kMega, 2 * kMega);
  ASSERT_TRUE(first);
  EXPECT_FALSE(made->allocate(1, 2 * kMega));
  EXPECT_TRUE(made->allocate(2 * kMega));
}

TEST(Arena, SaysWhenItIsFullAndServesAgainAfterwards) {
  auto made = arena(2 * kMega);
  Buffer all = made->allocate(2 * kMega);
  ASSERT_TRUE(all);
  EXPECT_FALSE(made->allocate(1));
  all = {};
  EXPECT_TRUE(made->allocate(2 * kMega));
  EXPECT_FALSE(made->allocate(2 * kMega + 1));
}

TEST(Arena, BytesOutliveTheArenasOtherHolders) {
  Bytes bytes;
  {
    auto made = arena(kMega);
    Buffer buffer = made->allocate(16);
    std::memset(buffer.data(), 7, 16);
    bytes = std::move(buffer).freeze(16);
  }
  EXPECT_EQ(bytes.data()[15], std::byte{7});
}

// Law: blocks never overlap, and when all are gone the whole arena is one block again.
TEST(Arena, KeepsBlocksApartOverManyAllocations) {
  constexpr std::uint32_t kSeed = 11;
  SCOPED_TRACE(kSeed);
  std::mt19937 random(kSeed);
  auto made = arena(16 * kMega, 0);
  std::vector<std::pair<Buffer, unsigned char>> live;
  for (int i = 0; i < 2000; ++i) {
    if (random() % 3 != 0 || live.empty()) {
      Buffer buffer = made->allocate(1 + random() % 300'000);
      if (!buffer) continue;
      const auto mark = static_cast<unsigned char>(random());
      std::memset(buffer.data(), mark, buffer.capacity());
      live.emplace_back(std::move(buffer), mark);
    } else {
      const std::size_t at = random() % live.size();
      std::swap(live[at], live.back());
      auto& [buffer, mark] = live.back();
      ASSERT_EQ(buffer.data()[0], std::byte{mark});
      ASSERT_EQ(buffer.data()[buffer.capacity() - 1], std::byte{mark});
      live.pop_back();
    }
  }
  live.clear();
  EXPECT_EQ(made->used(), 0u);
  EXPECT_TRUE(made->allocate(16 * kMega));
}

TEST(PeerArena, ChecksPlacesAndTellsTheEndOfATensorOnce) {
  auto peer = *PeerArena::create("peer test", kMega);
  int released = 0;
  const auto count = [&](std::uint64_t block) { released += block == 4096 ? 1 : 100; };
  EXPECT_FALSE(peer.view(0, kMega, 1, count));
  EXPECT_FALSE(peer.view(0, 8, kMega, count));
  EXPECT_FALSE(peer.view(16, 8, 1, count));
  {
    auto bytes = peer.view(4096, 4104, 100, count);
    ASSERT_TRUE(bytes);
    const Bytes slice = bytes->slice(1, 2);
    bytes.reset();
    EXPECT_EQ(released, 0);
  }
  EXPECT_EQ(released, 1);
}

}  // namespace
}  // namespace argosy::worker
