#pragma once

// OrderedRelease<T>: lets answers out in arrival order, whatever order they are
// ready in (preserve_ordering).
//
// Keyed by Pending::order, which a policy hands out without gaps from 0. Every
// accepted request must be put exactly once, those dropped from the queue too: a
// missing one holds back all that came after it.
//
// Thread: one at a time; keep it inside a Guarded and send what was released after
// the lock is gone.

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

namespace argosy::sched {

template <class T>
class OrderedRelease {
 public:
  // Appends to `released` what may go out now: nothing, or `answer` and those that waited for it.
  void put(std::uint64_t order, T answer, std::vector<T>& released) {
    assert(order >= next_);
    if (order != next_) {
      const std::size_t place = order - next_ - 1;
      if (waiting_.size() <= place) waiting_.resize(place + 1);
      assert(!waiting_[place].has_value());
      waiting_[place] = std::move(answer);
      ++held_;
      return;
    }
    released.push_back(std::move(answer));
    ++next_;
    while (!waiting_.empty() && waiting_.front().has_value()) {
      released.push_back(std::move(*waiting_.front()));
      waiting_.pop_front();
      ++next_;
      --held_;
    }
    // The place of the request that is now awaited: put() will not use it.
    if (!waiting_.empty()) waiting_.pop_front();
  }

  // Nothing earlier is outstanding: parts of a streamed answer may pass at once.
  bool is_next(std::uint64_t order) const { return order == next_; }

  std::size_t held() const { return held_; }  // answers waiting for an earlier one

 private:
  std::uint64_t next_ = 0;
  std::size_t held_ = 0;
  std::deque<std::optional<T>> waiting_;  // [i]: the answer of order next_ + 1 + i
};

}  // namespace argosy::sched
