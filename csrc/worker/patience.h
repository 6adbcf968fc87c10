#pragma once

// Patience: whether to stay awake for what another process is about to send.
//
// A sleep and a wake-up cost tens of microseconds across cores, more than a small model
// takes. So a waiter looks for a while first, giving its core to whoever wants it between
// two looks. How often that paid decides how often it is tried: a waiter that waits in
// vain soon sleeps at once, as one on a machine with more work than cores does, and tries
// one time in 64 whether that has changed.
//
// Thread: one.

#include <sched.h>

#include <algorithm>
#include <thread>

#include "base/time.h"

namespace argosy::worker {

class Patience {
 public:
  static constexpr auto kLongest = std::chrono::microseconds(300);

  // Looks for `arrived()` for a while; false: not tried, or in vain.
  template <class Arrived>
  bool stay(const Clock& clock, Arrived arrived) {
    if (!worth_trying()) return false;
    const TimePoint begun = clock.now();
    TimePoint before = begun;
    for (;;) {
      if (arrived()) {
        paid();
        return true;
      }
      sched_yield();
      const TimePoint now = clock.now();
      // Somebody else had the core for a while: here it takes longer to be awake than to be woken.
      if (now - begun >= kLongest || (now - before >= kCrowded && !arrived())) break;
      before = now;
    }
    in_vain();
    return false;
  }

  // The bookkeeping by itself.
  bool worth_trying() {
    if (!kCores) return false;
    if (skip_ == 0) return true;
    --skip_;
    return false;
  }
  void paid() { score_ = std::min(score_ + 1, kBest); }
  void in_vain() {
    score_ = std::max(score_ - 1, kWorst);
    if (score_ < 0) skip_ = 1u << -score_;
  }

 private:
  static constexpr auto kCrowded = std::chrono::microseconds(150);
  static constexpr int kBest = 4, kWorst = -6;
  // On a single core the other side cannot run while this one looks.
  static inline const bool kCores = std::thread::hardware_concurrency() > 1;

  int score_ = 0;
  unsigned skip_ = 0;  // waits that sleep at once
};

}  // namespace argosy::worker
