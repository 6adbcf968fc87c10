#include "sched/ordered_release.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <random>
#include <string>

namespace argosy::sched {
namespace {

TEST(OrderedRelease, AnAnswerInItsTurnGoesOutAtOnce) {
  OrderedRelease<int> release;
  std::vector<int> out;
  EXPECT_TRUE(release.is_next(0));
  release.put(0, 10, out);
  release.put(1, 11, out);
  EXPECT_EQ(out, (std::vector{10, 11}));
  EXPECT_EQ(release.held(), 0u);
}

TEST(OrderedRelease, AnEarlyAnswerWaitsForThoseBeforeIt) {
  OrderedRelease<int> release;
  std::vector<int> out;
  release.put(2, 12, out);
  release.put(1, 11, out);
  EXPECT_TRUE(out.empty());
  EXPECT_EQ(release.held(), 2u);
  EXPECT_FALSE(release.is_next(1));
  release.put(0, 10, out);
  EXPECT_EQ(out, (std::vector{10, 11, 12}));
  EXPECT_TRUE(release.is_next(3));
}

// However answers become ready, all go out, once, in order, and as soon as they may.
TEST(OrderedReleaseProperty, ReleasesEveryPrefixAsSoonAsItIsWhole) {
  for (unsigned seed = 0; seed < 2'000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    std::vector<std::uint64_t> ready(1 + random() % 40);
    std::iota(ready.begin(), ready.end(), 0u);
    std::shuffle(ready.begin(), ready.end(), random);

    OrderedRelease<std::unique_ptr<std::uint64_t>> release;
    std::vector<std::unique_ptr<std::uint64_t>> out;
    std::vector<bool> seen(ready.size() + 1, false);
    for (const std::uint64_t order : ready) {
      seen[order] = true;
      release.put(order, std::make_unique<std::uint64_t>(order), out);
      const auto whole = static_cast<std::size_t>(std::find(seen.begin(), seen.end(), false) - seen.begin());
      ASSERT_EQ(out.size(), whole);
    }
    ASSERT_EQ(release.held(), 0u);
    for (std::size_t i = 0; i < out.size(); ++i) ASSERT_EQ(*out[i], i);
  }
}

}  // namespace
}  // namespace argosy::sched
