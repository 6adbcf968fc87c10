#pragma once

// Gate: counts what is inside, can be closed, and knows when the last one left. How
// something is drained: close() it, wait until it is empty, take it apart.
//
// It stops nothing by itself; whoever is inside says when it leaves.
//
// Thread: any. The gate must outlive the last leave(): whoever is inside keeps it alive.

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>

#include "base/guarded.h"
#include "base/time.h"

namespace argosy {

class Gate {
 public:
  // False: closed, and nothing was entered.
  [[nodiscard]] bool enter() {
    // Acquire: who gets in sees what was done before the gate was made.
    if ((state_.fetch_add(1, std::memory_order_acq_rel) & kClosed) == 0) return true;
    leave();
    return false;
  }

  void leave(std::size_t count = 1) {
    if (count == 0) return;
    // Release: who finds the gate empty sees what was done inside.
    if (state_.fetch_sub(count, std::memory_order_acq_rel) == (kClosed | count)) wake();
  }

  void close() {
    if (state_.fetch_or(kClosed, std::memory_order_acq_rel) == 0) wake();
  }

  bool closed() const { return (state_.load(std::memory_order_acquire) & kClosed) != 0; }
  std::size_t inside() const { return state_.load(std::memory_order_acquire) & ~kClosed; }

  // Only after close(). TimePoint::max() waits for ever. False: not empty by then, or
  // somebody gave up waiting.
  bool wait_empty(TimePoint deadline) {
    auto given_up = given_up_.lock();
    while (inside() != 0) {
      if (*given_up) return false;
      if (deadline == TimePoint::max()) {
        given_up.wait(changed_);
      } else {
        if (SteadyClock().now() >= deadline) return false;
        given_up.wait_until(changed_, deadline);
      }
    }
    return true;
  }

  // Every wait_empty(), now and later, stops waiting.
  void give_up() {
    *given_up_.lock() = true;
    changed_.notify_all();
  }

 private:
  static constexpr std::uint64_t kClosed = std::uint64_t{1} << 63;

  void wake() {
    // Under the lock, so that it cannot fall between a waiter's look and its sleep.
    { auto held = given_up_.lock(); }
    changed_.notify_all();
  }

  std::atomic<std::uint64_t> state_{0};
  Guarded<bool> given_up_{false};
  std::condition_variable changed_;
};

}  // namespace argosy
