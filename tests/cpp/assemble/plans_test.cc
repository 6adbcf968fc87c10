#include <gtest/gtest.h>

#include <algorithm>

#include "assemble/device_batch.h"
#include "assemble/input_plan.h"
#include "assemble/output_plan.h"
#include "device/pool.h"

namespace argosy::assemble {
namespace {

using device::Memory;
using device::MemoryKind;

// Memory that nobody looks into.
Memory pretend(std::uintptr_t at, std::size_t bytes, MemoryKind kind) {
  return {nullptr, reinterpret_cast<const std::byte*>(at), bytes, {kind, 0}};
}
Memory plain(std::size_t bytes) { return pretend(0x10000, bytes, MemoryKind::host); }
Memory pinned(std::size_t bytes) { return pretend(0x20000, bytes, MemoryKind::pinned); }
Memory there(std::size_t bytes) { return pretend(0x30000, bytes, MemoryKind::device); }

constexpr InputRules kRules{.direct_bytes = 1000, .device = 0};

TEST(InputPlan, SendsABatchOfSmallInputsInOneCopy) {
  const std::vector<InputParts> inputs = {{.parts = {plain(100), pinned(20)}}, {.parts = {plain(8), plain(8)}}};
  const auto plan = plan_inputs(inputs, kRules);
  ASSERT_TRUE(plan.ok());
  ASSERT_EQ(plan->stretches.size(), 1u);
  EXPECT_EQ(plan->stretches[0].bytes, 256u + 16u);
  EXPECT_EQ(plan->staged.size(), 4u);
  EXPECT_EQ(plan->inputs[0].at, 0u);
  EXPECT_EQ(plan->inputs[0].bytes, 120u);
  EXPECT_EQ(plan->inputs[1].at, 256u);
  EXPECT_EQ(plan->block_bytes, 272u);
}

TEST(InputPlan, SendsLargePinnedPartsFromWhereTheyAre) {
  const std::vector<InputParts> inputs = {{.parts = {pinned(5000), pinned(5000)}}};
  const auto plan = plan_inputs(inputs, kRules);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->staging_bytes, 0u);
  ASSERT_EQ(plan->direct.size(), 2u);
  EXPECT_EQ(plan->direct[1].at, 5000u);
}

TEST(InputPlan, StagesLargePartsOfOrdinaryMemory) {
  const std::vector<InputParts> inputs = {{.parts = {plain(5000), pinned(5000)}}};
  const auto plan = plan_inputs(inputs, kRules);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->staged.size(), 1u);
  EXPECT_EQ(plan->direct.size(), 1u);
}

TEST(InputPlan, PutsStagedInputsSideBySideAroundALargeOne) {
  const std::vector<InputParts> inputs = {{.parts = {plain(10)}}, {.parts = {pinned(5000)}}, {.parts = {plain(10)}}};
  const auto plan = plan_inputs(inputs, kRules);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->stretches.size(), 1u);
  EXPECT_EQ(plan->inputs[2].at, 256u);
  EXPECT_EQ(plan->inputs[1].at, 512u);
}

TEST(InputPlan, MovesWhatIsOnTheDeviceAlready) {
  const std::vector<InputParts> inputs = {{.parts = {there(10), plain(10), there(10)}}};
  const auto plan = plan_inputs(inputs, kRules);
  ASSERT_TRUE(plan.ok());
  ASSERT_EQ(plan->on_device.size(), 2u);
  EXPECT_EQ(plan->on_device[1].at, 20u);
  EXPECT_EQ(plan->stretches.size(), 1u);
}

TEST(InputPlan, PadsBehindStagedPartsInStagingAndBehindOthersOnTheDevice) {
  const std::vector<InputParts> inputs = {{.parts = {plain(10)}, .padded_bytes = 40},
                                          {.parts = {pinned(5000)}, .padded_bytes = 8000}};
  const auto plan = plan_inputs(inputs, kRules);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->staged.back().zeros, 30u);
  ASSERT_EQ(plan->zeros.size(), 1u);
  EXPECT_EQ(plan->zeros[0].at, 256u + 5000u);
  EXPECT_EQ(plan->zeros[0].bytes, 3000u);
}

TEST(InputPlan, WidensRowsOneByOne) {
  const std::vector<InputParts> inputs = {{.parts = {plain(6), plain(4)}, .row_bytes = 4, .rows = {2, 1}}};
  const auto plan = plan_inputs(inputs, kRules);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->inputs[0].bytes, 12u);
  ASSERT_EQ(plan->staged.size(), 5u);
  EXPECT_EQ(plan->staged[2].at, 4u);
  EXPECT_EQ(plan->staged[4].at, 8u);
}

TEST(InputPlan, RefusesWhatDoesNotFit) {
  const std::vector<InputParts> wide = {{.parts = {plain(10)}, .row_bytes = 4, .rows = {2}}};
  EXPECT_EQ(plan_inputs(wide, kRules).status(),
            invalid_argument("input 0: 10 bytes in 2 rows do not fit rows of 4 bytes"));
  const std::vector<InputParts> long_one = {{.parts = {plain(10)}, .padded_bytes = 4}};
  EXPECT_EQ(plan_inputs(long_one, kRules).status(),
            invalid_argument("input 0: 10 bytes do not fit the padded size of 4"));
  const std::vector<InputParts> elsewhere = {{.parts = {there(10)}}};
  EXPECT_EQ(plan_inputs(elsewhere, {.device = 1}).status().code(), StatusCode::unsupported);
}

TEST(OutputPlan, TakesReservedOutputsInOneCopy) {
  std::byte block[1024];
  const std::vector<Memory> outputs = {{nullptr, block + 256, 100, {MemoryKind::device, 0}},
                                       {nullptr, block, 10, {MemoryKind::device, 0}}};
  const auto plan = plan_outputs(outputs, block, 1000);
  ASSERT_EQ(plan.copies.size(), 1u);
  EXPECT_EQ(plan.copies[0].from, block);
  EXPECT_EQ(plan.copies[0].bytes, 356u);
  EXPECT_EQ(plan.begins, (std::vector<std::size_t>{256, 0}));
}

TEST(OutputPlan, PacksSmallOutputsOfTheModelsOwn) {
  const std::vector<Memory> outputs = {there(10), there(5000), there(20)};
  const auto plan = plan_outputs(outputs, {}, 1000);
  EXPECT_EQ(plan.packed.size(), 2u);
  EXPECT_EQ(plan.pack_bytes, 276u);
  ASSERT_EQ(plan.copies.size(), 2u);
  EXPECT_EQ(plan.copies[0].from, nullptr);
  EXPECT_EQ(plan.begins, (std::vector<std::size_t>{0, 512, 256}));
}

TEST(OutputPlan, DoesNotPackALoneOutput) {
  const std::vector<Memory> outputs = {there(10), there(0)};
  const auto plan = plan_outputs(outputs, {}, 1000);
  EXPECT_TRUE(plan.packed.empty());
  EXPECT_EQ(plan.copies.size(), 1u);
  EXPECT_EQ(plan.host_bytes, 10u);
}

TEST(PaddedRows, AreTheNextSizeAllowed) {
  const ShapeRules rules{{1, 4, 8}};
  EXPECT_EQ(padded_rows(rules, 1), 1u);
  EXPECT_EQ(padded_rows(rules, 2), 4u);
  EXPECT_EQ(padded_rows(rules, 8), 8u);
  EXPECT_EQ(padded_rows(rules, 9), 9u);
  EXPECT_EQ(padded_rows({}, 3), 3u);
}

// Law: in block and staging alike, no two things overlap, all lie inside, and each
// byte of an input's place is covered exactly once, by one of the four ways.
TEST(InputPlan, CoversEveryByteOnce) {
  for (std::uint32_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(seed);
    std::uint32_t state = seed * 2654435761u;
    const auto draw = [&](std::uint32_t bound) {
      state = state * 1664525u + 1013904223u;
      return (state >> 8) % bound;
    };
    std::vector<InputParts> inputs(1 + draw(5));
    for (auto& input : inputs) {
      std::size_t bytes = 0;
      for (std::uint32_t i = draw(6); i-- > 0;) {
        const std::size_t size = draw(3) == 0 ? 1000 + draw(3000) : draw(200);
        const auto way = draw(3);
        input.parts.push_back(way == 0 ? plain(size) : way == 1 ? pinned(size) : there(size));
        bytes += size;
      }
      if (draw(2) == 0) input.padded_bytes = bytes + draw(500);
    }
    const auto plan = plan_inputs(inputs, kRules);
    ASSERT_TRUE(plan.ok());

    std::vector<int> block(plan->block_bytes);
    std::vector<int> staging(plan->staging_bytes);
    const auto cover = [](std::vector<int>& what, std::size_t at, std::size_t bytes) {
      ASSERT_LE(at + bytes, what.size());
      for (std::size_t i = at; i < at + bytes; ++i) ++what[i];
    };
    for (const auto& stage : plan->staged) cover(staging, stage.at, stage.from.size() + stage.zeros);
    EXPECT_TRUE(std::all_of(staging.begin(), staging.end(), [](int times) { return times <= 1; }));
    for (const auto& stretch : plan->stretches) {
      ASSERT_LE(stretch.staged_at + stretch.bytes, staging.size());
      for (std::size_t i = 0; i < stretch.bytes; ++i) block[stretch.at + i] += staging[stretch.staged_at + i];
    }
    for (const auto& part : plan->direct) cover(block, part.at, part.from.size());
    for (const auto& part : plan->on_device) cover(block, part.at, part.from.size());
    for (const auto& zeros : plan->zeros) cover(block, zeros.at, zeros.bytes);
    std::size_t covered = 0;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const auto& place = plan->inputs[i];
      std::size_t bytes = 0;
      for (const auto& part : inputs[i].parts) bytes += part.size();
      EXPECT_EQ(place.bytes, std::max(bytes, inputs[i].padded_bytes));
      for (std::size_t at = place.at; at < place.at + place.bytes; ++at) ASSERT_EQ(block[at], 1) << at;
      covered += place.bytes;
    }
    EXPECT_EQ(static_cast<std::size_t>(std::count(block.begin(), block.end(), 1)), covered);
  }
}

}  // namespace
}  // namespace argosy::assemble
