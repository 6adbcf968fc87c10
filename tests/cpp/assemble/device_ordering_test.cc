// Each rule of assemble/ordering.h: kept, no row is wrong, whatever the course; dropped,
// the simulated device shows wrong bytes on some course.

#include <gtest/gtest.h>

#include <deque>

#include "device_rig.h"

namespace argosy::assemble {
namespace {

using device::Memory;
using device::Pace;

enum class Outputs { reserved, own, passed_on };

struct Course {
  Ordering ordering;
  Pace pace = Pace::late;
  std::uint64_t seed = 1;
  bool direct = false;  // inputs are copied from where they were received
  Outputs outputs = Outputs::reserved;
};

std::byte pattern(std::uint64_t batch, std::size_t at) {
  return static_cast<std::byte>(batch * 37 + at * 11 + at / 256);
}

// Eight batches, two under way at a time, each of one block; pools have room for few.
bool all_rows_whole(const Course& course) {
  Rig rig({.pace = course.pace, .seed = course.seed}, (course.direct ? 6 : 3) * kPage, 2 * kPage,
          {.direct_bytes = course.direct ? std::size_t{1} : std::size_t{1} << 20, .ordering = course.ordering});
  const auto own = device::Pool::make(rig.device, device::MemoryKind::device, {2 * kPage, true});
  struct UnderWay {
    std::uint64_t number;
    std::unique_ptr<Flight> flight;
  };
  std::deque<UnderWay> under_way;
  bool whole = true;
  const auto collect = [&] {
    const auto outputs = rig.pipeline->collect(*under_way.front().flight);
    EXPECT_TRUE(outputs.ok());
    for (std::size_t i = 0; i < kPage; ++i) {
      whole = whole && (*outputs)[0].data()[i] == changed(pattern(under_way.front().number, i));
    }
    under_way.pop_front();
  };
  const auto receive = [&](std::uint64_t batch) {
    std::vector<std::byte> bytes(kPage);
    for (std::size_t i = 0; i < kPage; ++i) bytes[i] = pattern(batch, i);
    return rig.received(bytes, course.direct);
  };
  Memory received = receive(0);
  for (std::uint64_t batch = 0; batch < 8; ++batch) {
    std::vector<InputParts> inputs(1);
    inputs[0].parts.push_back(std::move(received));
    auto loaded = rig.pipeline->load(inputs);
    EXPECT_TRUE(loaded.ok()) << loaded.status().message();
    std::unique_ptr<Flight> flight = *std::move(loaded);
    inputs.clear();
    received = receive(batch + 1);  // the network does not wait
    Memory output;
    std::byte* to = nullptr;
    const std::size_t size = kPage;
    if (course.outputs == Outputs::reserved) {
      auto places = rig.pipeline->reserve(*flight, {&size, 1});
      EXPECT_TRUE(places.ok());
      to = places->front();
      output = {nullptr, to, kPage, rig.device->place()};
    } else if (course.outputs == Outputs::passed_on) {
      to = const_cast<std::byte*>(flight->inputs()[0].data());
      output = flight->inputs()[0];
    } else {
      auto lease = own->take_for(rig.pipeline->compute(), kPage);
      EXPECT_TRUE(lease.ok());
      to = lease->data();
      output = (*std::move(lease)).share(kPage);
    }
    const std::byte* const from = flight->inputs()[0].data();
    EXPECT_TRUE(device::SimulatedDevice::launch(rig.pipeline->compute(), [to, from] {
                  for (std::size_t i = 0; i < kPage; ++i) to[i] = changed(from[i]);
                }).ok());
    std::vector<Memory> leaving;
    leaving.push_back(std::move(output));
    EXPECT_TRUE(rig.pipeline->unload(*flight, std::move(leaving)).ok());
    under_way.push_back({batch, std::move(flight)});
    if (under_way.size() == 2) collect();
  }
  while (!under_way.empty()) collect();
  return whole && rig.device->violations().empty();
}

// Late, and sixty seeded courses of this kind.
bool some_course_goes_wrong(Course course) {
  if (!all_rows_whole(course)) return true;
  course.pace = Pace::seeded;
  for (course.seed = 1; course.seed <= 60; ++course.seed) {
    if (!all_rows_whole(course)) return true;
  }
  return false;
}

struct Rule {
  const char* name;
  bool Ordering::*kept;
  bool direct = false;
  Outputs outputs = Outputs::reserved;
};

class DeviceOrdering : public testing::TestWithParam<Rule> {};

TEST_P(DeviceOrdering, KeptNoRowIsWrongAndDroppedSomeAre) {
  Course course{.direct = GetParam().direct, .outputs = GetParam().outputs};
  EXPECT_FALSE(some_course_goes_wrong(course));
  course.ordering.*GetParam().kept = false;
  EXPECT_TRUE(some_course_goes_wrong(course));
}

INSTANTIATE_TEST_SUITE_P(
    Rules, DeviceOrdering,
    testing::Values(Rule{"ComputeAfterCopyIn", &Ordering::compute_after_copy_in},
                    Rule{"CopyOutAfterCompute", &Ordering::copy_out_after_compute},
                    Rule{"ReadAfterCopyOut", &Ordering::read_after_copy_out},
                    Rule{"StageAfterCopyIn", &Ordering::stage_after_copy_in},
                    Rule{"CopyInAfterCompute", &Ordering::copy_in_after_compute},
                    Rule{"ComputeAfterCopyOut", &Ordering::compute_after_copy_out},
                    Rule{"KeepReceivedUntilCopied", &Ordering::keep_received_until_copied, true},
                    Rule{"KeepReturnedUntilCopied", &Ordering::keep_returned_until_copied, false, Outputs::own},
                    Rule{"KeepPassedOnUntilCopied", &Ordering::keep_passed_on_until_copied, false, Outputs::passed_on}),
    [](const auto& rule) { return std::string(rule.param.name); });

// A batch is given up with its outputs on their way; who gets its buffer next keeps
// what he wrote there.
bool next_owner_is_left_alone(bool drains) {
  Ordering ordering;
  ordering.drain_before_giving_up = drains;
  Rig rig({}, 2 * kPage, 8 * kPage, {.direct_bytes = 1, .ordering = ordering});
  const auto send = [&] {
    const std::vector<std::byte> bytes(kPage, std::byte{1});
    const std::vector<InputParts> inputs = {{.parts = {rig.received(bytes, true)}}};
    auto flight = *rig.pipeline->load(inputs);
    std::vector<Memory> same = {flight->inputs()[0]};
    EXPECT_TRUE(rig.pipeline->unload(*flight, std::move(same)).ok());
    return flight;
  };
  send().reset();
  const std::vector<std::byte> sevens(kPage, std::byte{7});
  const std::vector<std::byte> eights(kPage, std::byte{8});
  const Memory first = rig.received(sevens, true);
  const Memory second = rig.received(eights, true);
  EXPECT_TRUE(device::is_pinned(second));
  rig.pipeline.reset();  // what was enqueued for the batch happens now at the latest
  return std::equal(sevens.begin(), sevens.end(), first.data()) &&
         std::equal(eights.begin(), eights.end(), second.data());
}

TEST(DeviceOrdering, DrainBeforeGivingUpKeptNoRowIsWrongAndDroppedSomeAre) {
  EXPECT_TRUE(next_owner_is_left_alone(true));
  EXPECT_FALSE(next_owner_is_left_alone(false));
}

TEST(DeviceOrdering, IsKeptWhenStreamsRunFreely) {
  for (const bool direct : {false, true}) {
    for (const Outputs outputs : {Outputs::reserved, Outputs::own, Outputs::passed_on}) {
      for (int i = 0; i < 10; ++i) {
        EXPECT_TRUE(all_rows_whole({.pace = Pace::free, .direct = direct, .outputs = outputs}));
      }
    }
  }
}

}  // namespace
}  // namespace argosy::assemble
