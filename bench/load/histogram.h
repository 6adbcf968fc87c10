#pragma once

// Histogram: latencies of any number of requests in fixed memory.
//
// Log-linear: every power of two is cut into 128 equal buckets, so a reported
// percentile is never below the true one and at most 1/128 (0.8 %) above it;
// values under 128 ns are exact. max() and mean() are exact.
//
// Thread: one at a time.

#include <array>
#include <cstdint>

namespace argosy::load {

class Histogram {
 public:
  static constexpr int kSubBits = 7;
  static constexpr double kErrorBound = 1.0 / (1 << kSubBits);

  void record(std::uint64_t ns) {
    ++buckets_[index(ns)];
    ++count_;
    sum_ += ns;
    if (ns > max_) max_ = ns;
    if (ns < min_) min_ = ns;
  }
  void merge(const Histogram& other);

  std::uint64_t count() const { return count_; }
  std::uint64_t max() const { return max_; }
  std::uint64_t min() const { return count_ == 0 ? 0 : min_; }
  double mean() const { return count_ == 0 ? 0 : static_cast<double>(sum_) / static_cast<double>(count_); }

  // The value that `percent` of the records do not exceed, 0 < percent <= 100; 0 when empty.
  std::uint64_t percentile(double percent) const;

 private:
  // Values up to 2^40 ns (18 minutes); longer ones share the last bucket, and max() still tells.
  static constexpr int kTopBit = 40;
  static constexpr std::size_t kBuckets = static_cast<std::size_t>(kTopBit - kSubBits + 1) << kSubBits;

  static std::size_t index(std::uint64_t value);
  static std::uint64_t highest_in(std::size_t index);

  std::array<std::uint64_t, kBuckets> buckets_{};
  std::uint64_t count_ = 0;
  std::uint64_t sum_ = 0;
  std::uint64_t max_ = 0;
  std::uint64_t min_ = ~std::uint64_t{0};
};

}  // namespace argosy::load
