#pragma once

// Expiry: one thread that answers queued requests at their deadline, or when they are
// cancelled, however busy the instances are.
//
// It sleeps until the earliest deadline of all queues. due_at() is called after every
// push: one atomic load, unless the deadline is earlier than the one slept for. A
// deadline whose request was served in the meantime costs one idle wake-up.
//
// Thread: any. Everything watched is asked without a lock held, on the expiry thread.

#include <atomic>
#include <condition_variable>
#include <memory>
#include <thread>
#include <vector>

#include "base/guarded.h"
#include "base/time.h"

namespace argosy::engine {

class Expirable {
 public:
  virtual ~Expirable() = default;
  // Answers what is past its deadline at `now` or cancelled; returns when there will be
  // more to do, TimePoint::max() for never.
  virtual TimePoint answer_expired(TimePoint now) = 0;
};

class Expiry {
 public:
  explicit Expiry(const Clock& clock);
  ~Expiry() { stop(); }

  void watch(std::weak_ptr<Expirable> queue);

  void due_at(TimePoint deadline) {
    if (deadline.time_since_epoch().count() < armed_for_.load(std::memory_order_acquire)) arm(deadline);
  }
  void look_now() { arm(TimePoint::min()); }  // something was cancelled

  void stop();  // idempotent; not from the expiry thread

 private:
  struct State {
    std::vector<std::weak_ptr<Expirable>> watched;
    TimePoint earliest = TimePoint::max();  // told since the last look
    bool stopping = false;
  };

  void arm(TimePoint deadline);
  void run();

  const Clock& clock_;
  // The deadline slept for; max while looking, so that every push tells. Stored before a
  // queue is looked at under its lock, and read after a push under the same lock: a push
  // that the look missed sees max or newer.
  std::atomic<std::int64_t> armed_for_{TimePoint::max().time_since_epoch().count()};
  Guarded<State> state_;
  std::condition_variable changed_;
  std::thread thread_;
};

}  // namespace argosy::engine
