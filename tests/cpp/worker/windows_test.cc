#include "worker/windows.h"

#include <gtest/gtest.h>

#include <array>
#include <thread>
#include <vector>

namespace argosy::worker {
namespace {

constexpr Handle handle(std::uint32_t slot, std::uint32_t generation) {
  return static_cast<Handle>(generation) << 32 | slot;
}

struct Shared {
  std::array<Windows::Slot, 4> slots{};
  Windows windows{nullptr, slots};

  std::uint32_t delivered(std::uint32_t slot) const { return static_cast<std::uint32_t>(slots[slot].delivered.load()); }
};

TEST(Windows, UnitsComeBackWhenTheirTicketIsDropped) {
  Shared shared;
  shared.windows.open(handle(2, 7));
  auto first = shared.windows.ticket(handle(2, 7), 3);
  auto second = shared.windows.ticket(handle(2, 7), 5);
  EXPECT_EQ(shared.delivered(2), 0);
  second.reset();
  EXPECT_EQ(shared.delivered(2), 5);
  first.reset();
  EXPECT_EQ(shared.delivered(2), 8);
}

TEST(Windows, ALateTicketDoesNotTouchTheNextRequest) {
  Shared shared;
  shared.windows.open(handle(1, 1));
  auto late = shared.windows.ticket(handle(1, 1), 4);
  shared.windows.open(handle(1, 2));
  late.reset();
  EXPECT_EQ(shared.delivered(1), 0);
}

TEST(Windows, UnitsWrapAroundWithoutReachingTheGeneration) {
  Shared shared;
  shared.windows.open(handle(0, 9));
  shared.windows.ticket(handle(0, 9), 0xffffffff).reset();
  shared.windows.ticket(handle(0, 9), 3).reset();
  EXPECT_EQ(shared.slots[0].delivered.load(), std::uint64_t{9} << 32 | 2);
}

TEST(Windows, ASlotThatIsNotThereHasNoTicket) {
  Shared shared;
  EXPECT_EQ(shared.windows.ticket(handle(4, 1), 1), nullptr);
}

TEST(Windows, TicketsAreDroppedOnAnyThread) {
  Shared shared;
  shared.windows.open(handle(3, 1));
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 1000; ++n) shared.windows.ticket(handle(3, 1), 1).reset();
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(shared.delivered(3), 4000);
}

}  // namespace
}  // namespace argosy::worker
