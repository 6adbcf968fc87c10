#include "grpc/framing.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace argosy::grpc {
namespace {

std::string framed(std::string_view text, bool compressed = false) {
  const auto prefix = message_prefix(text.size(), compressed);
  return std::string(reinterpret_cast<const char*>(prefix.data()), prefix.size()) + std::string(text);
}

// All messages of `slices`, read in order; fails the test on an error.
std::vector<std::string> read_all(MessageReader& reader, const std::vector<std::string>& slices) {
  std::vector<std::string> found;
  for (const std::string& slice : slices) {
    Bytes data = Bytes::copy_of(slice);
    for (;;) {
      auto next = reader.next(data, default_pool());
      EXPECT_TRUE(next.ok()) << next.status().message();
      if (!next.ok()) return found;
      if (*next) found.emplace_back((*next)->bytes.view());
      if (!*next && data.empty()) break;
    }
  }
  return found;
}

TEST(MessageReader, AMessageInsideOneSliceStaysASliceOfIt) {
  MessageReader reader(1000);
  const Bytes whole = Bytes::copy_of(framed("hello") + framed("there", true));
  Bytes data = whole;
  auto first = reader.next(data, default_pool());
  ASSERT_TRUE(first.ok() && *first);
  EXPECT_EQ((*first)->bytes.view(), "hello");
  EXPECT_EQ((*first)->bytes.data(), whole.data() + kPrefixBytes);
  EXPECT_FALSE((*first)->compressed);
  auto second = reader.next(data, default_pool());
  ASSERT_TRUE(second.ok() && *second);
  EXPECT_TRUE((*second)->compressed);
  EXPECT_TRUE(data.empty());
  EXPECT_TRUE(reader.between_messages());
}

// Counts the buffers taken: a large message is gathered into exactly one of its size.
struct CountingPool final : BytesPool {
  Buffer allocate(std::size_t size) override {
    sizes.push_back(size);
    return refuse ? Buffer{} : default_pool().allocate(size);
  }
  std::vector<std::size_t> sizes;
  bool refuse = false;
};

TEST(MessageReader, ALargeMessageIsGatheredIntoOneBuffer) {
  MessageReader reader(10'000'000);
  CountingPool pool;
  const std::string text(3'000'000, 'm');
  const std::string all = framed(text);
  for (std::size_t at = 0; at < all.size(); at += 16'384) {
    Bytes data = Bytes::copy_of(all.substr(at, 16'384));
    auto next = reader.next(data, pool);
    ASSERT_TRUE(next.ok());
    if (at + 16'384 < all.size()) {
      ASSERT_FALSE(*next);
    } else {
      ASSERT_TRUE(*next);
      EXPECT_EQ((*next)->bytes.view(), text);
    }
  }
  EXPECT_EQ(pool.sizes, std::vector<std::size_t>{3'000'000});
}

struct CountingRoom final : MessageRoom {
  Buffer room(std::size_t length, std::span<const std::byte> begin) override {
    asked.emplace_back(length, begin.size());
    return full ? Buffer{} : Buffer(nullptr, memory.data() + 3, memory.size() - 3);
  }
  std::vector<std::pair<std::size_t, std::size_t>> asked;
  std::vector<std::byte> memory = std::vector<std::byte>(200);
  bool full = false;
};

TEST(MessageReader, AMessageInPartsIsGatheredWhereItsReaderSays) {
  MessageReader reader(1000);
  CountingPool pool;
  CountingRoom rooms;
  const std::string text(100, 'm');
  const Bytes all = Bytes::copy_of(framed("whole") + framed(text));
  Bytes data = all.slice(0, 30);
  auto next = reader.next(data, pool, &rooms);
  ASSERT_TRUE(next.ok() && *next);
  EXPECT_TRUE(rooms.asked.empty());
  EXPECT_FALSE(*reader.next(data, pool, &rooms));
  data = all.from(30);
  next = reader.next(data, pool, &rooms);
  ASSERT_TRUE(next.ok() && *next);
  EXPECT_EQ((*next)->bytes.view(), text);
  EXPECT_EQ((*next)->bytes.data(), rooms.memory.data() + 3);
  EXPECT_EQ(rooms.asked, (std::vector<std::pair<std::size_t, std::size_t>>{{100, 15}}));
  EXPECT_TRUE(pool.sizes.empty());
}

TEST(MessageReader, ThePoolServesWhatHasNoBetterPlace) {
  const std::string text(100, 'm');
  for (const bool compressed : {false, true}) {
    MessageReader reader(1000);
    CountingPool pool;
    CountingRoom rooms;
    rooms.full = true;
    const Bytes all = Bytes::copy_of(framed(text, compressed));
    for (const Bytes& piece : {all.slice(0, 50), all.from(50)}) {
      Bytes data = piece;
      ASSERT_TRUE(reader.next(data, pool, &rooms).ok());
    }
    EXPECT_EQ(pool.sizes, std::vector<std::size_t>{100});
    EXPECT_EQ(rooms.asked.size(), compressed ? 0u : 1u);  // compressed bytes say nothing
  }
}

TEST(MessageReader, BytesReceivedInTheirPlaceAreThere) {
  MessageReader reader(1'000'000);
  const std::string text = std::string(200'000, 'a') + std::string(100'000, 'b');
  const std::string all = framed(text);
  EXPECT_FALSE(reader.unfilled());
  Bytes data = Bytes::copy_of(all.substr(0, 3));
  ASSERT_TRUE(reader.next(data, default_pool()).ok());
  EXPECT_FALSE(reader.unfilled());  // the length is not known
  data = Bytes::copy_of(all.substr(3, 50'000));
  ASSERT_TRUE(reader.next(data, default_pool()).ok());
  std::size_t sent = 50'003;
  const std::byte* const begin = reader.unfilled().data() - (sent - kPrefixBytes);
  for (const std::size_t part : {1u, 70'000u, 30'000u}) {
    Buffer to = reader.unfilled();
    ASSERT_EQ(to.capacity(), all.size() - sent);
    std::memset(to.data(), '?', to.capacity());  // nothing there is read before it is given
    std::memcpy(to.data(), all.data() + sent, part);
    data = to.written(0, part);
    auto next = reader.next(data, default_pool());
    ASSERT_TRUE(next.ok() && !*next && data.empty());
    sent += part;
  }
  data = Bytes::copy_of(all.substr(sent, 1000));  // from elsewhere: copied
  ASSERT_TRUE(reader.next(data, default_pool()).ok());
  sent += 1000;
  Buffer to = reader.unfilled();
  std::memcpy(to.data(), all.data() + sent, to.capacity());
  data = to.written(0, to.capacity());
  auto next = reader.next(data, default_pool());
  ASSERT_TRUE(next.ok() && *next);
  EXPECT_TRUE((*next)->bytes.view() == text);
  EXPECT_EQ((*next)->bytes.data(), begin);
  EXPECT_FALSE(reader.unfilled());  // it may be read elsewhere by now
}

TEST(MessageReader, AnEmptyMessageIsAMessage) {
  MessageReader reader(10);
  EXPECT_EQ(read_all(reader, {framed("") + framed("") + framed("x")}), (std::vector<std::string>{"", "", "x"}));
}

TEST(MessageReader, RefusesALengthBeyondItsLimitBeforeReservingIt) {
  MessageReader reader(1000);
  CountingPool pool;
  Bytes data = Bytes::copy_of(framed(std::string(1001, 'x')).substr(0, 10));
  const auto next = reader.next(data, pool);
  EXPECT_EQ(next.status().code(), StatusCode::resource_exhausted);
  EXPECT_EQ(next.status().message(), "Received message larger than max (1001 vs. 1000)");
  EXPECT_TRUE(pool.sizes.empty());
}

TEST(MessageReader, RefusesAnUnknownFlag) {
  MessageReader reader(1000);
  Bytes data = Bytes::copy_of(std::string_view("\x02\0\0\0\1x", 6));
  EXPECT_EQ(reader.next(data, default_pool()).status().code(), StatusCode::internal);
}

TEST(MessageReader, SaysSoWhenThereIsNoMemory) {
  MessageReader reader(kMaxMessageBytes);
  CountingPool pool;
  pool.refuse = true;
  Bytes data = Bytes::copy_of(std::string_view("\0\x7f\xff\xff\xffx", 6));
  const auto next = reader.next(data, pool);
  EXPECT_EQ(next.status().code(), StatusCode::resource_exhausted);
  EXPECT_EQ(pool.sizes, std::vector<std::size_t>{0x7fffffff});
}

// However a stream is cut, the same messages come out of it.
TEST(MessageReaderProperty, CutsDoNotMatter) {
  for (unsigned seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    std::vector<std::string> messages;
    std::string all;
    for (unsigned i = 0, count = random() % 8; i < count; ++i) {
      std::string text(random() % (random() % 4 == 0 ? 5000 : 20), '\0');
      for (char& c : text) c = static_cast<char>(random());
      all += framed(text);
      messages.push_back(std::move(text));
    }
    std::vector<std::string> slices;
    for (std::size_t at = 0; at < all.size();) {
      const std::size_t part = std::min<std::size_t>(1 + random() % (random() % 3 == 0 ? 3 : 700), all.size() - at);
      slices.push_back(all.substr(at, part));
      at += part;
    }
    MessageReader reader(10'000);
    EXPECT_EQ(read_all(reader, slices), messages);
    EXPECT_TRUE(reader.between_messages());
  }
}

}  // namespace
}  // namespace argosy::grpc
