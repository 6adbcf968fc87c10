#include "worker/group.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <string>
#include <utility>

#include "worker/process.h"

namespace argosy::worker {
namespace {

using namespace std::chrono_literals;

constexpr int kPatienceMillis = 60'000;

std::pair<Descriptor, Descriptor> make_pipe() {
  std::array<int, 2> ends{};
  EXPECT_EQ(pipe(ends.data()), 0);
  return {Descriptor(ends[0]), Descriptor(ends[1])};
}

// Up to its end, which is when nobody writes any more; "..." where that does not come.
std::string said_through(int descriptor) {
  std::string text;
  std::array<char, 256> buffer;
  for (;;) {
    pollfd watched{descriptor, POLLIN, 0};
    if (poll(&watched, 1, kPatienceMillis) != 1) return text + "...";
    const auto count = read(descriptor, buffer.data(), buffer.size());
    if (count <= 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(count));
  }
}

// A leader with a child that ignores signals and a tracker: as Python's it ignores them as well, waits until nobody
// has the pipe that it reads any more, which we do until we let go, and tidies up.
struct Group : testing::Test {
  std::pair<Descriptor, Descriptor> lifeline = make_pipe(), said = make_pipe();
  Process process = start();

  Process start() {
    const std::string tracker = R"(sh -c 'trap "" TERM INT; echo ready; read gone <&3; echo tidied >&5' \
        'from multiprocessing.resource_tracker import main;main(3)' 4>&- &)";
    const std::string stubborn = R"((trap "" TERM INT HUP; exec sleep 1000 3<&- 5>&-) &)";
    auto made = Process::start({.arguments = {"/bin/sh", "-c", stubborn + "\n" + tracker + "\nexec 3<&- 5>&-; wait"},
                                .environment = {"PATH=/usr/bin:/bin"},
                                .descriptors = {lifeline.first.get(), lifeline.second.get(), said.second.get()}});
    EXPECT_TRUE(made.ok()) << made.status().message();
    said.second = Descriptor();
    pollfd watched{made->output(), POLLIN, 0};
    std::array<char, 16> line;
    EXPECT_EQ(poll(&watched, 1, kPatienceMillis), 1);
    EXPECT_EQ(read(made->output(), line.data(), line.size()), 6);  // "ready"
    return *std::move(made);
  }

  void let_go() { lifeline.second = Descriptor(); }
};

TEST_F(Group, OfAProcessThatIsKilledTheTrackerAloneGoesOnAndTidiesUp) {
  process.kill();
  EXPECT_EQ(process.wait(), "was killed by signal 9 (Killed)");
  process.bury();
  let_go();
  EXPECT_EQ(said_through(said.first.get()), "tidied\n");
}

TEST_F(Group, ATrackerIsWaitedForAsLongAsThereIsPatience) {
  let_go();
  process.kill();
  process.bury(60s);
  pollfd watched{said.first.get(), POLLIN, 0};
  EXPECT_EQ(poll(&watched, 1, 0), 1);
  EXPECT_NE(watched.revents & POLLIN, 0);
}

TEST_F(Group, ALeaderThatLivesIsEndedAsWellAndTheTrackersAreCounted) {
  const int death = process.death();
  EXPECT_EQ(end_group(process.id()), 1);
  pollfd watched{death, POLLIN, 0};
  EXPECT_EQ(poll(&watched, 1, kPatienceMillis), 1);
  let_go();
  EXPECT_EQ(said_through(said.first.get()), "tidied\n");
}

}  // namespace
}  // namespace argosy::worker
