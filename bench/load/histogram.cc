#include "load/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace argosy::load {

std::size_t Histogram::index(std::uint64_t value) {
  constexpr std::uint64_t kSub = 1u << kSubBits;
  if (value < kSub) return static_cast<std::size_t>(value);
  const int shift = static_cast<int>(std::bit_width(value)) - 1 - kSubBits;
  const std::size_t at =
      (static_cast<std::size_t>(shift + 1) << kSubBits) + static_cast<std::size_t>((value >> shift) - kSub);
  return std::min(at, kBuckets - 1);
}

std::uint64_t Histogram::highest_in(std::size_t index) {
  constexpr std::uint64_t kSub = 1u << kSubBits;
  if (index < kSub) return index;
  const std::size_t shift = (index >> kSubBits) - 1;
  const std::uint64_t first = (kSub + (index & (kSub - 1))) << shift;
  return first + (std::uint64_t{1} << shift) - 1;
}

void Histogram::merge(const Histogram& other) {
  for (std::size_t i = 0; i < kBuckets; ++i) buckets_[i] += other.buckets_[i];
  count_ += other.count_;
  sum_ += other.sum_;
  max_ = std::max(max_, other.max_);
  min_ = std::min(min_, other.min_);
}

std::uint64_t Histogram::percentile(double percent) const {
  if (count_ == 0) return 0;
  const double wanted = std::ceil(percent / 100.0 * static_cast<double>(count_));
  const auto rank = std::clamp<std::uint64_t>(static_cast<std::uint64_t>(wanted), 1, count_);
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i + 1 < kBuckets; ++i) {
    seen += buckets_[i];
    if (seen >= rank) return std::min(highest_in(i), max_);
  }
  return max_;
}

}  // namespace argosy::load
