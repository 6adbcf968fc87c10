#include "device/pieces.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace argosy::device {
namespace {

TEST(Pieces, AreCutIntoTheWidestWordsBothEndsAllow) {
  EXPECT_EQ(words_of(0, 0, 64), (Words{0, 4, 16, 0}));
  EXPECT_EQ(words_of(3, 3, 64), (Words{13, 3, 16, 3}));
  EXPECT_EQ(words_of(0, 8, 17), (Words{0, 2, 8, 1}));
  EXPECT_EQ(words_of(5, 9, 3), (Words{3, 0, 4, 0}));
  EXPECT_EQ(words_of(0, 1, 5), (Words{0, 5, 1, 0}));
  EXPECT_EQ(words_of(0, 0, 0), (Words{0, 0, 16, 0}));
}

TEST(Pieces, HaveAtLeastOneBlockAndNotTooMany) {
  EXPECT_EQ(blocks_per_piece(0), 1u);
  EXPECT_EQ(blocks_per_piece(16384), 1u);
  EXPECT_EQ(blocks_per_piece(16385), 2u);
  EXPECT_EQ(blocks_per_piece(std::size_t{1} << 40), 64u);
}

// Law: every byte of every piece arrives, and no byte beside one changes.
TEST(Pieces, ArriveWholeAtAnyAlignment) {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    std::vector<std::byte> from(1 << 14);
    for (auto& byte : from) byte = static_cast<std::byte>(random());
    std::vector<std::byte> to(1 << 14, std::byte{0x5A});
    std::vector<std::byte> expected = to;
    std::vector<Piece> pieces;
    for (std::size_t at = random() % 32; at < to.size() - 700; at += 1 + random() % 64) {
      const std::size_t bytes = random() % 600;
      const std::size_t source = random() % (from.size() - bytes);
      pieces.push_back({to.data() + at, from.data() + source, bytes});
      std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(source), bytes,
                  expected.begin() + static_cast<std::ptrdiff_t>(at));
      at += bytes;
    }
    move_on_host(pieces);
    ASSERT_EQ(to, expected);
  }
}

}  // namespace
}  // namespace argosy::device
