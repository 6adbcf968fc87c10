#pragma once

// Guarded<T>: data that can only be reached through its lock.
//
//   Guarded<State> state_;
//   auto state = state_.lock();   // released at the end of the scope
//   state->queue.push(item);
//
// Thread: any. There is no way to touch the value without holding the lock, so no
// comment has to say which lock guards which member.

#include <condition_variable>
#include <mutex>
#include <utility>

#include "base/time.h"

namespace argosy {

template <class T>
class Guarded {
 public:
  class Lock {
   public:
    T* operator->() { return &value_; }
    T& operator*() { return value_; }

    // Let the lock go while asleep. May wake early: call in a loop.
    void wait(std::condition_variable& signal) { signal.wait(held_); }
    void wait_until(std::condition_variable& signal, TimePoint when) { signal.wait_until(held_, when); }

   private:
    friend class Guarded;
    explicit Lock(Guarded& owner) : held_(owner.mutex_), value_(owner.value_) {}
    std::unique_lock<std::mutex> held_;
    T& value_;
  };

  template <class... Args>
  explicit Guarded(Args&&... args) : value_(std::forward<Args>(args)...) {}

  [[nodiscard]] Lock lock() { return Lock(*this); }

 private:
  std::mutex mutex_;
  T value_;
};

}  // namespace argosy
