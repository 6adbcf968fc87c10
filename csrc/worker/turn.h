#pragma once

// Turn: whose it is to read what a worker asks for. The keeper reads when it is woken; the
// runner, which waits for results anyway, reads while it looks for them, so that a call
// needs nobody to be woken.
//
// While somebody has the turn the writer wakes nobody; once it is given, the writer wakes
// the keeper. A keeper that is woken in between finds the turn taken and sleeps again: so
// who gives it looks at the ring once more, and calls the keeper back.
//
// Thread: any.

#include <atomic>

#include "worker/ring.h"

namespace argosy::worker {

class Turn {
 public:
  explicit Turn(RingReader& ring) : ring_(ring) {}

  // False: somebody has it.
  bool take() {
    if (taken_.exchange(true, std::memory_order_seq_cst)) return false;
    ring_.wake_up();
    return true;
  }

  // False: there is a record to be read first.
  bool give() {
    if (!ring_.fall_asleep()) return false;
    taken_.store(false, std::memory_order_seq_cst);
    return true;
  }

  // The same, whatever is in the ring.
  void drop() { taken_.store(false, std::memory_order_seq_cst); }

  // After give(), unless by the keeper: whether the keeper has to be called.
  bool overlooked() const { return !ring_.seems_empty(); }

 private:
  RingReader& ring_;
  std::atomic<bool> taken_{false};
};

}  // namespace argosy::worker
