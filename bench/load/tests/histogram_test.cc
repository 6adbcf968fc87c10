#include "load/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace argosy::load {
namespace {

TEST(Histogram, SmallValuesAreExact) {
  Histogram h;
  for (std::uint64_t v = 1; v <= 100; ++v) h.record(v);
  EXPECT_EQ(h.percentile(50), 50u);
  EXPECT_EQ(h.percentile(99), 99u);
  EXPECT_EQ(h.percentile(100), 100u);
  EXPECT_DOUBLE_EQ(h.mean(), 50.5);
}

TEST(Histogram, AnEmptyOneSaysZero) {
  const Histogram h;
  EXPECT_EQ(h.percentile(99), 0u);
  EXPECT_EQ(h.min(), 0u);
  EXPECT_EQ(h.mean(), 0);
}

TEST(Histogram, AnHourSharesTheLastBucketAndMaxStillTells) {
  Histogram h;
  const std::uint64_t hour = 3'600'000'000'000;
  h.record(hour);
  EXPECT_EQ(h.percentile(50), hour);
  EXPECT_EQ(h.max(), hour);
}

// Law: a percentile is never below the true one, and at most the error bound above it.
TEST(Histogram, PercentilesStayWithinTheErrorBoundOfTheSortedValues) {
  for (std::uint32_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    std::lognormal_distribution<double> latency(static_cast<double>(seed % 12) + 4, 2);
    Histogram h;
    std::vector<std::uint64_t> values;
    for (int i = 0; i < 5000; ++i) {
      values.push_back(static_cast<std::uint64_t>(latency(random)));
      h.record(values.back());
    }
    std::sort(values.begin(), values.end());
    for (const double p : {0.1, 1.0, 50.0, 90.0, 99.0, 99.9, 100.0}) {
      const auto rank = static_cast<std::size_t>(std::ceil(p / 100 * 5000));
      const std::uint64_t truth = values[rank - 1];
      const std::uint64_t said = h.percentile(p);
      EXPECT_GE(said, truth) << p;
      EXPECT_LE(static_cast<double>(said), static_cast<double>(truth) * (1 + Histogram::kErrorBound)) << p;
    }
  }
}

TEST(Histogram, MergingIsRecordingInOne) {
  Histogram a, b, both;
  for (std::uint64_t v : {5u, 5000u, 70000u}) {
    a.record(v);
    both.record(v);
  }
  for (std::uint64_t v : {1u, 900000u}) {
    b.record(v);
    both.record(v);
  }
  a.merge(b);
  EXPECT_EQ(a.count(), 5u);
  EXPECT_EQ(a.min(), 1u);
  EXPECT_EQ(a.max(), 900000u);
  for (const double p : {20.0, 40.0, 60.0, 80.0}) EXPECT_EQ(a.percentile(p), both.percentile(p));
}

}  // namespace
}  // namespace argosy::load
