#pragma once

// Arrivals: when an open loop means to send, whatever the server does.
//
// Thread: one at a time.

#include <random>

#include "base/time.h"

namespace argosy::load {

class Arrivals {
 public:
  Arrivals(double per_second, bool poisson, std::uint64_t seed, TimePoint start)
      : mean_ns_(1e9 / per_second), poisson_(poisson), random_(seed), start_(start) {
    advance();
  }

  TimePoint next() const { return start_ + Nanos(static_cast<std::int64_t>(elapsed_ns_)); }
  void advance() { elapsed_ns_ += poisson_ ? gap_(random_) * mean_ns_ : mean_ns_; }

 private:
  const double mean_ns_;
  const bool poisson_;
  std::mt19937_64 random_;
  std::exponential_distribution<double> gap_{1.0};
  const TimePoint start_;
  double elapsed_ns_ = 0;  // a sum of small gaps: a double keeps it exact to 1 ns for months
};

}  // namespace argosy::load
