#pragma once

// Time as the core sees it: a steady clock, always passed in, never read inside a
// policy. Units live in the types; a bare integer never means a duration.
// TimePoint has the clock's own resolution, because statistics are in nanoseconds.

#include <chrono>

namespace argosy {

using Micros = std::chrono::microseconds;
using Nanos = std::chrono::nanoseconds;
using TimePoint = std::chrono::time_point<std::chrono::steady_clock, Nanos>;

// Any thread. The one seam between the core and the real clock.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint now() const = 0;
};

class SteadyClock final : public Clock {
 public:
  TimePoint now() const override { return std::chrono::time_point_cast<Nanos>(std::chrono::steady_clock::now()); }
};

}  // namespace argosy
