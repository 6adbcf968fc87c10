#include "worker/turn.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <random>
#include <string>
#include <thread>
#include <vector>

#include "worker/process.h"
#include "worker/ring_ends.h"

namespace argosy::worker {
namespace {

struct Line : Ends {
  Turn turn{reader};
};

TEST(Turn, OneAtATimeAndTheWriterWakesNobodyMeanwhile) {
  Line line;
  ASSERT_TRUE(line.turn.take());
  EXPECT_FALSE(line.turn.take());
  EXPECT_FALSE(line.writer.reader_sleeps());
  ASSERT_TRUE(line.turn.give());
  EXPECT_TRUE(line.writer.reader_sleeps());
  ASSERT_TRUE(line.turn.take());
  EXPECT_FALSE(line.writer.reader_sleeps());
}

TEST(Turn, IsNotGivenWithARecordUnread) {
  Line line;
  ASSERT_TRUE(line.turn.take());
  ASSERT_TRUE(line.writer.push(bytes("call")));
  EXPECT_FALSE(line.turn.give());
  EXPECT_FALSE(line.turn.take());
  std::string record;
  ASSERT_EQ(line.reader.pop(record), RingReader::Found::record);
  EXPECT_TRUE(line.turn.give());
  EXPECT_FALSE(line.turn.overlooked());
  ASSERT_TRUE(line.writer.put(bytes("late")));
  EXPECT_TRUE(line.turn.overlooked());
}

TEST(Turn, DroppingItGivesItWhateverTheRingHolds) {
  Line line;
  ASSERT_TRUE(line.turn.take());
  line.place.tail().store(kRingBytes + 8);  // nonsense
  EXPECT_FALSE(line.turn.give());
  line.turn.drop();
  EXPECT_TRUE(line.turn.take());
}

// A writer, a keeper that sleeps on an event, a runner that comes and goes: every record is
// read once, in order, and none waits for another to come.
TEST(Turn, NothingIsOverlookedBetweenTwoReaders) {
  constexpr int kRecords = 30'000;
  constexpr unsigned kSeed = 11;
  SCOPED_TRACE(kSeed);
  Line line;
  const Descriptor event = *make_event();
  int expected = 0;  // of who has the turn
  std::atomic<int> read{0};
  std::atomic<bool> stuck{false};
  const auto read_all = [&] {
    std::string record;
    bool any = false;
    while (line.reader.pop(record) == RingReader::Found::record) {
      EXPECT_EQ(record, std::to_string(expected));
      ++expected;
      any = true;
    }
    read.store(expected);
    return any;
  };
  const auto over = [&] { return read.load() == kRecords || stuck.load(); };

  std::thread keeper([&] {
    bool reads = line.turn.take();
    while (!over()) {
      if (reads && line.turn.give()) reads = false;
      pollfd watched{event.get(), POLLIN, 0};
      const int before = read.load();
      const int ripe = poll(&watched, 1, reads ? 0 : 20'000);
      if (ripe == 0 && !reads && read.load() == before && !over()) stuck = true;
      if (watched.revents != 0) clear_event(event);
      reads = reads || line.turn.take();
      if (reads) read_all();
    }
    if (reads) line.turn.drop();
  });
  std::thread runner([&] {
    std::mt19937 random(kSeed);
    while (!over()) {
      bool reads = false;
      for (unsigned looks = random() % 20; looks > 0; --looks) {
        reads = reads || line.turn.take();
        if (reads) read_all();
      }
      if (!reads) continue;
      while (!line.turn.give()) read_all();
      if (line.turn.overlooked()) signal_event(event);
      // Asleep, for all that the keeper knows.
      const int seen = read.load();
      while (random() % 4 != 0 && read.load() == seen && !over()) std::this_thread::yield();
    }
    signal_event(event);
  });
  std::mt19937 random(kSeed + 1);
  for (int i = 0; i < kRecords && !stuck; ++i) {
    const std::string record = std::to_string(i);
    while (!line.writer.put(bytes(record)) && !stuck) std::this_thread::yield();
    if (line.writer.reader_sleeps()) signal_event(event);
    // One that nothing follows for a while is the one that can be overlooked.
    if (random() % 2 == 0) {
      while (read.load() <= i && !stuck) std::this_thread::yield();
    }
  }
  keeper.join();
  runner.join();
  EXPECT_FALSE(stuck) << "a record lay unread while both slept: " << read.load();
  EXPECT_EQ(read.load(), kRecords);
}

}  // namespace
}  // namespace argosy::worker
