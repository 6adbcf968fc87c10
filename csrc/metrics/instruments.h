#pragma once

// Counter, Gauge, Histogram: what hot code writes to. They are plain values; a
// Registry names and labels them, or a Source reads them when a page is made.
//
// Thread: any. Each write is one or two relaxed atomic additions: a page may show one
// part of an observation before the other, never lose one.

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace argosy::metrics {

class Counter {
 public:
  void add(std::uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

class Gauge {
 public:
  void set(double value) { value_.store(value, std::memory_order_relaxed); }
  void add(double change) { value_.fetch_add(change, std::memory_order_relaxed); }
  double value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_{0};
};

// What a page shows of a histogram, in its outside unit.
struct HistogramReading {
  std::vector<double> bounds;             // ascending; +Inf is not listed
  std::vector<std::uint64_t> cumulative;  // observations <= bounds[i]
  std::uint64_t count = 0;
  double sum = 0;
};

// Counts whole numbers (nanoseconds, rows); a page shows them times `unit` (1e-9: seconds).
class Histogram {
 public:
  Histogram(std::vector<std::uint64_t> bounds, double unit)
      : bounds_(std::move(bounds)), unit_(unit), buckets_(new std::atomic<std::uint64_t>[bounds_.size() + 1]()) {}

  void observe(std::uint64_t value, std::uint64_t times = 1) {
    const auto at = std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin();
    buckets_[static_cast<std::size_t>(at)].fetch_add(times, std::memory_order_relaxed);
    sum_.fetch_add(value * times, std::memory_order_relaxed);
  }

  HistogramReading read() const {
    HistogramReading reading;
    for (std::size_t i = 0; i < bounds_.size(); ++i) {
      reading.bounds.push_back(static_cast<double>(bounds_[i]) * unit_);
      reading.count += buckets_[i].load(std::memory_order_relaxed);
      reading.cumulative.push_back(reading.count);
    }
    reading.count += buckets_[bounds_.size()].load(std::memory_order_relaxed);
    reading.sum = static_cast<double>(sum_.load(std::memory_order_relaxed)) * unit_;
    return reading;
  }

 private:
  const std::vector<std::uint64_t> bounds_;  // ascending
  const double unit_;
  std::unique_ptr<std::atomic<std::uint64_t>[]> buckets_;  // the last one: above every bound
  std::atomic<std::uint64_t> sum_{0};
};

}  // namespace argosy::metrics
