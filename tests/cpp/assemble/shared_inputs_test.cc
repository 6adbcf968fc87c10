// Inputs that lie in device memory of another process: they enter a batch beside others,
// and are let go of when they have been copied and not before.

#include <gtest/gtest.h>

#include <deque>

#include "device_rig.h"

namespace argosy::assemble {
namespace {

using device::Memory;
using device::MemoryKind;
using device::Pace;
using device::SimulatedDevice;

constexpr std::size_t kRoom = 64 * kPage;

// A client with a device of its own. What it gives is closed with the last slice, and then
// the client frees it.
struct Client {
  Memory give(Rig& rig, std::span<const std::byte> bytes) {
    // Somewhere in the middle, as a slice of a region is.
    const std::size_t before = bytes.size() % 7;
    std::byte* const block = *device->allocate(MemoryKind::device, before + bytes.size());
    std::memcpy(block + before, bytes.data(), bytes.size());
    const auto opened = rig.device->open_ipc(*device->export_ipc(block));
    EXPECT_TRUE(opened.ok()) << opened.status().message();
    ++held;
    const std::shared_ptr<const void> owner(block, [this, at = rig.device, data = opened->data](std::byte* own) {
      at->close_ipc(data);
      device->release(MemoryKind::device, own);
      --held;
    });
    return {owner, opened->data + before, bytes.size(), rig.device->place()};
  }
  std::shared_ptr<SimulatedDevice> device = SimulatedDevice::make({.ordinal = 1});
  int held = 0;
};

struct SharedCourse {
  Pace pace = Pace::late;
  std::uint64_t seed = 1;
  bool keeps = true;         // Ordering::keep_received_until_copied
  bool client_only = false;  // every part lies in a client's memory
  std::uint32_t fails = 0;   // one call of the device in so many
};

std::vector<std::byte> random_bytes(std::mt19937_64& random, std::size_t count) {
  std::vector<std::byte> bytes(count);
  for (auto& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

struct Batch {
  std::vector<InputParts> inputs;
  std::vector<std::vector<std::byte>> expected;
};

Batch random_batch(Rig& rig, Client& client, std::mt19937_64& random, bool client_only) {
  Batch batch;
  batch.inputs.resize(1 + random() % 3);
  for (InputParts& input : batch.inputs) {
    auto& expected = batch.expected.emplace_back();
    for (std::uint64_t count = 1 + random() % 4; count-- > 0;) {
      const auto bytes = random_bytes(random, 1 + random() % (random() % 3 == 0 ? kPage : 50));
      expected.insert(expected.end(), bytes.begin(), bytes.end());
      const bool shared = client_only || random() % 2 == 0;
      input.parts.push_back(shared ? client.give(rig, bytes) : rig.received(bytes, random() % 2 == 0));
    }
    if (random() % 3 != 0) continue;
    expected.resize(expected.size() + random() % 100);
    input.padded_bytes = expected.size();
  }
  return batch;
}

struct Outcome {
  bool whole = true;  // every byte of every batch that did not fail, and nothing used after it was given back
  int good = 0;
  int failed = 0;
};

// Batches whose inputs are their outputs, two under way at a time. Nobody but the flight
// has the parts once they are loaded.
Outcome run_shared(const SharedCourse& course) {
  Client client;
  Outcome outcome;
  {
    Rig rig({.pace = course.pace, .seed = course.seed}, kRoom, kRoom,
            {.direct_bytes = 200, .ordering = {.keep_received_until_copied = course.keeps}});
    std::mt19937_64 random(course.seed);
    struct UnderWay {
      std::vector<std::vector<std::byte>> expected;
      std::unique_ptr<Flight> flight;
    };
    std::deque<UnderWay> under_way;
    const auto collect = [&] {
      const auto outputs = rig.pipeline->collect(*under_way.front().flight);
      const auto& expected = under_way.front().expected;
      for (std::size_t i = 0; outputs.ok() && i < expected.size(); ++i) {
        const Memory& got = (*outputs)[i];
        outcome.whole &= std::equal(got.data(), got.data() + got.size(), expected[i].begin(), expected[i].end());
      }
      outputs.ok() ? ++outcome.good : ++outcome.failed;
      under_way.pop_front();
    };
    for (int step = 0; step < 12; ++step) {
      Batch batch = random_batch(rig, client, random, course.client_only);
      rig.device->set_fail_one_in(course.fails);
      auto loaded = rig.pipeline->load(batch.inputs);
      batch.inputs.clear();
      std::unique_ptr<Flight> flight;
      Status status = loaded.status();
      if (status.ok()) {
        flight = *std::move(loaded);
        status = rig.pipeline->unload(*flight, flight->inputs());
      }
      if (status.ok()) {
        under_way.push_back({std::move(batch.expected), std::move(flight)});
      } else {
        flight.reset();
        ++outcome.failed;
      }
      rig.device->set_fail_one_in(0);
      if (under_way.size() == 2) collect();
    }
    while (!under_way.empty()) collect();
    EXPECT_TRUE(!course.keeps || client.held == 0) << "memory of the client is held after the last batch";
    outcome.whole &= rig.device->violations().empty();
  }
  outcome.whole &= client.device->violations().empty();
  return outcome;
}

TEST(SharedInputs, EnterABatchBesideOthersAndNoByteIsLostMixedOrTorn) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    const Outcome outcome = run_shared({.pace = seed % 3 == 0 ? Pace::late : Pace::seeded, .seed = seed});
    EXPECT_TRUE(outcome.whole);
    EXPECT_EQ(outcome.good, 12);
  }
  EXPECT_TRUE(run_shared({.pace = Pace::free}).whole);
}

TEST(SharedInputs, AreHeldUntilTheyAreCopied) {
  EXPECT_TRUE(run_shared({.client_only = true}).whole);
  EXPECT_FALSE(run_shared({.keeps = false, .client_only = true}).whole);
}

TEST(SharedInputs, AreLetGoOfWhereTheDeviceFails) {
  int failed = 0, good = 0;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(seed);
    const Outcome outcome = run_shared({.pace = Pace::seeded, .seed = seed, .fails = 12});
    EXPECT_TRUE(outcome.whole);
    failed += outcome.failed;
    good += outcome.good;
  }
  EXPECT_GT(failed, 20);
  EXPECT_GT(good, 20);
}

TEST(SharedInputs, OfAnotherDeviceAreRefusedByNumber) {
  Rig rig({}, kRoom, kRoom);
  const std::vector<std::byte> bytes(8);
  const std::vector<InputParts> inputs = {{.parts = {Memory(nullptr, bytes.data(), 8, {MemoryKind::device, 7})}}};
  EXPECT_EQ(rig.pipeline->load(inputs).status().message(),
            "input 0: a part lies on device 7, the batch is for device 0");
}

}  // namespace
}  // namespace argosy::assemble
