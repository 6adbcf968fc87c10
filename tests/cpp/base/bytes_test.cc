#include "base/bytes.h"

#include <gtest/gtest.h>

namespace argosy {
namespace {

TEST(Bytes, ASliceSharesTheMemoryAndKeepsItAlive) {
  Bytes tail;
  const std::byte* data = nullptr;
  {
    const Bytes whole = Bytes::take("a text too long for the string itself");
    data = whole.data();
    tail = whole.from(2).slice(0, 4);
  }
  EXPECT_EQ(tail.view(), "text");
  EXPECT_EQ(tail.data(), data + 2);
}

TEST(Bytes, TakingAShortStringIsSafeToo) {
  const Bytes bytes = Bytes::take("ab");
  const Bytes copy = bytes;
  EXPECT_EQ(copy.view(), "ab");
}

TEST(Bytes, ACopyDoesNotFollowTheOriginal) {
  std::string text = "before";
  const Bytes copy = Bytes::copy_of(std::string_view(text));
  text = "after!";
  EXPECT_EQ(copy.view(), "before");
}

TEST(Bytes, NothingHasNoOwner) {
  EXPECT_TRUE(Bytes::copy_of(std::string_view()).empty());
  EXPECT_EQ(Bytes().slice(0, 0).size(), 0u);
}

TEST(Buffer, FreezingKeepsWhatWasWritten) {
  auto owner = std::shared_ptr<std::byte[]>(new std::byte[8]);
  std::byte* data = owner.get();
  Buffer buffer(owner, data, 8);
  buffer.span()[0] = std::byte{'x'};
  buffer.span()[1] = std::byte{'y'};
  const Bytes first = buffer.written(0, 1);
  const Bytes all = std::move(buffer).freeze(2);
  owner.reset();
  EXPECT_EQ(first.view(), "x");
  EXPECT_EQ(all.view(), "xy");
}

}  // namespace
}  // namespace argosy
