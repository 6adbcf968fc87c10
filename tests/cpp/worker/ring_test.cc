#include "worker/ring.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "worker/ring_ends.h"

namespace argosy::worker {
namespace {

TEST(Ring, GivesRecordsBackInOrderAndThenNothing) {
  Ends ends;
  ASSERT_TRUE(ends.writer.push(bytes("one")));
  ASSERT_TRUE(ends.writer.push(bytes("")));
  std::string record;
  EXPECT_EQ(ends.reader.pop(record), RingReader::Found::record);
  EXPECT_EQ(record, "one");
  EXPECT_EQ(ends.reader.pop(record), RingReader::Found::record);
  EXPECT_EQ(record, "");
  EXPECT_EQ(ends.reader.pop(record), RingReader::Found::nothing);
}

TEST(Ring, RefusesWhatDoesNotFitUntilTheReaderMadeRoom) {
  Ends ends;
  const std::string longest(ends.writer.longest(), 'x');
  ASSERT_TRUE(ends.writer.push(bytes(longest)));
  ASSERT_TRUE(ends.writer.push(bytes(longest)));
  EXPECT_FALSE(ends.writer.push(bytes("one more")));
  std::string record;
  ASSERT_EQ(ends.reader.pop(record), RingReader::Found::record);
  EXPECT_TRUE(ends.writer.push(bytes("one more")));
}

// Law: across threads, nothing is lost, repeated, reordered or changed, at any lengths.
TEST(Ring, CarriesEveryRecordBetweenThreads) {
  Ends ends;
  constexpr int kRecords = 20'000;
  constexpr std::uint32_t kSeed = 7;
  SCOPED_TRACE(kSeed);
  const auto text = [](std::mt19937& random, int i) {
    return std::to_string(i) + std::string(random() % 300, static_cast<char>('a' + i % 26));
  };
  std::thread writer([&] {
    std::mt19937 random(kSeed);
    for (int i = 0; i < kRecords; ++i) {
      const std::string record = text(random, i);
      while (!ends.writer.push(bytes(record))) std::this_thread::yield();
    }
  });
  std::mt19937 random(kSeed);
  std::string record;
  for (int i = 0; i < kRecords; ++i) {
    while (ends.reader.pop(record) == RingReader::Found::nothing) {
      if (!ends.reader.stay_awake()) ends.reader.doze(TimePoint::max());
    }
    ASSERT_EQ(record, text(random, i));
  }
  writer.join();
}

TEST(Ring, SaysSoWhenTheWriterWroteNonsense) {
  {
    Ends ends;
    ends.place.tail().store(kRingBytes + 8);
    std::string record;
    EXPECT_EQ(ends.reader.pop(record), RingReader::Found::corrupt);
  }
  Ends ends;
  ASSERT_TRUE(ends.writer.push(bytes("fine")));
  const std::uint32_t length = 100'000;
  std::memcpy(ends.place.data(), &length, sizeof length);
  std::string record;
  EXPECT_EQ(ends.reader.pop(record), RingReader::Found::corrupt);
}

TEST(Ring, AWokenReaderStopsWaiting) {
  Ends ends;
  std::thread waker([&] { ends.reader.wake(); });
  ends.reader.doze(TimePoint::max());
  waker.join();
}

}  // namespace
}  // namespace argosy::worker
