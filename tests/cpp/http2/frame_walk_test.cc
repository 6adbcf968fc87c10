#include "http2/frame_walk.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace argosy::http2 {
namespace {

std::string frame(std::size_t length, char type, char flags, std::int32_t stream, char fill = 'x') {
  std::string bytes{static_cast<char>(length >> 16), static_cast<char>(length >> 8), static_cast<char>(length), type,
                    flags};
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(stream >> shift);
  return bytes + std::string(length, fill);
}

void feed(FrameWalk& walk, std::string_view bytes) { walk.advance(std::as_bytes(std::span(bytes))); }

TEST(FrameWalk, KnowsWhatIsLeftOfAPayloadAndOfAHead) {
  FrameWalk walk(3);
  feed(walk, "PRI");
  EXPECT_EQ(walk.left(), 0u);
  EXPECT_EQ(walk.head_left(), 9u);
  const std::string data = frame(100, 0, 1, 7);
  feed(walk, data.substr(0, 4));
  EXPECT_EQ(walk.head_left(), 5u);
  EXPECT_FALSE(walk.data());
  feed(walk, data.substr(4, 35));
  EXPECT_TRUE(walk.data());
  EXPECT_EQ(walk.stream(), 7);
  EXPECT_EQ(walk.length(), 100u);
  EXPECT_EQ(walk.left(), 70u);
  feed(walk, data.substr(39));
  EXPECT_EQ(walk.left(), 0u);
  EXPECT_TRUE(walk.data());
}

TEST(FrameWalk, PaddedDataAndOtherFramesAreNotData) {
  FrameWalk walk(0);
  feed(walk, frame(10, 0, 8, 1).substr(0, 9));
  EXPECT_FALSE(walk.data());
  EXPECT_EQ(walk.left(), 10u);
  feed(walk, std::string(10, 'x') + frame(8, 6, 0, 0).substr(0, 12));
  EXPECT_FALSE(walk.data());
  EXPECT_EQ(walk.left(), 5u);
}

TEST(FrameWalk, CountsFramesAlikeInARow) {
  FrameWalk walk(0);
  feed(walk, frame(50, 0, 0, 1));
  EXPECT_EQ(walk.alike(), 0u);
  feed(walk, frame(50, 0, 0, 1) + frame(50, 0, 0, 1));
  EXPECT_EQ(walk.alike(), 2u);
  feed(walk, frame(49, 0, 0, 1));
  EXPECT_EQ(walk.alike(), 0u);
  feed(walk, frame(49, 0, 0, 3));
  EXPECT_EQ(walk.alike(), 0u);
  feed(walk, frame(49, 0, 0, 3) + frame(0, 4, 1, 0) + frame(49, 0, 0, 3));
  EXPECT_EQ(walk.alike(), 0u);
}

// However the bytes are cut, the walk is where the frames are.
TEST(FrameWalkProperty, CutsDoNotMatter) {
  for (unsigned seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    std::string all;
    std::vector<std::size_t> left_at{};  // before each byte
    for (int i = 0; i < 20; ++i) {
      const std::size_t length = random() % 3 == 0 ? 0 : random() % 300;
      all += frame(length, static_cast<char>(random() % 10), 0, static_cast<std::int32_t>(random() % 5));
      for (std::size_t at = 0; at < 9; ++at) left_at.push_back(0);
      for (std::size_t left = length; left > 0; --left) left_at.push_back(left);
    }
    left_at.push_back(0);
    FrameWalk walk(0);
    for (std::size_t at = 0; at < all.size();) {
      ASSERT_EQ(walk.left(), left_at[at]) << at;
      const std::size_t part = std::min<std::size_t>(1 + random() % 40, all.size() - at);
      feed(walk, std::string_view(all).substr(at, part));
      at += part;
    }
    EXPECT_EQ(walk.left(), 0u);
    EXPECT_EQ(walk.head_left(), 9u);
  }
}

}  // namespace
}  // namespace argosy::http2
