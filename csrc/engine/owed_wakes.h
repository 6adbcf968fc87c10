#pragma once

// OwedWakes: the models with a sleeping instance to wake for what one thread has
// submitted in one go.
//
// An event loop that has a hundred requests in its hands wakes an instance when it has
// submitted them, not at the first: the instance finds a batch instead of one request,
// and a wake-up (microseconds, and a core taken from the loop) is paid once.
//
// Thread: one, the submitting one.

#include <memory>
#include <utility>
#include <vector>

#include "base/time.h"

namespace argosy::engine {

class Lane;

class OwedWakes {
 public:
  // How long an instance may sleep on while requests come.
  static constexpr Nanos kLongest = std::chrono::microseconds(100);

  bool any() const { return !lanes_.empty(); }
  void owe(std::shared_ptr<Lane> lane, TimePoint now) {
    if (lanes_.empty()) since_ = now;
    lanes_.push_back(std::move(lane));
  }
  void pay_if_late(TimePoint now) {
    if (any() && now - since_ >= kLongest) pay();
  }
  void pay();

 private:
  std::vector<std::shared_ptr<Lane>> lanes_;
  TimePoint since_{};
};

}  // namespace argosy::engine
