#pragma once

// Cancellation: the caller's word that nobody waits for the answer any more.
//
// Shared by the front end, which cancels, and by whatever holds the request: a queue
// listens so that it can answer at once; a running model looks at cancelled().
// Cancelling is a hint: the request is still answered exactly once.
//
// Thread: any. A listener is called without a lock held, on the cancelling thread,
// and must not block.

#include <atomic>
#include <memory>

#include "base/guarded.h"

namespace argosy::infer {

class CancelListener {
 public:
  virtual ~CancelListener() = default;
  virtual void on_cancelled() = 0;
};

class Cancellation {
 public:
  bool cancelled() const { return flag_.load(std::memory_order_acquire); }

  void cancel() {
    std::shared_ptr<CancelListener> listener;
    {
      auto held = listener_.lock();
      // Release: a reader that sees the flag sees all that came before the cancel.
      if (flag_.exchange(true, std::memory_order_acq_rel)) return;
      listener = std::move(*held);
    }
    if (listener) listener->on_cancelled();
  }

  // Replaces the listener (null: nobody). Already cancelled: it is called now.
  void listen(std::shared_ptr<CancelListener> listener) {
    {
      auto held = listener_.lock();
      if (!cancelled()) {
        *held = std::move(listener);
        return;
      }
    }
    if (listener) listener->on_cancelled();
  }

 private:
  std::atomic<bool> flag_{false};
  Guarded<std::shared_ptr<CancelListener>> listener_;
};

}  // namespace argosy::infer
