#pragma once

// QueuedBytes: the server-wide bound on payload bytes that wait in queues.
//
// Exact: no interleaving admits more than the limit.
//
// Thread: any.

#include <atomic>
#include <cstddef>
#include <string>

#include "base/status.h"

namespace argosy::engine {

class QueuedBytes {
 public:
  explicit QueuedBytes(std::size_t limit) : limit_(limit) {}

  Status add(std::size_t bytes) {
    // Relaxed: only the number itself is agreed on. Never above the limit, not even for
    // a moment, or a big refused request would refuse small ones beside it.
    std::size_t now = now_.load(std::memory_order_relaxed);
    do {
      if (bytes > limit_ || now > limit_ - bytes) {
        return resource_exhausted("request of " + std::to_string(bytes) + " bytes refused: " + std::to_string(now) +
                                  " bytes are queued and --max-queued-bytes is " + std::to_string(limit_));
      }
    } while (!now_.compare_exchange_weak(now, now + bytes, std::memory_order_relaxed));
    return {};
  }
  void remove(std::size_t bytes) { now_.fetch_sub(bytes, std::memory_order_relaxed); }

  std::size_t now() const { return now_.load(std::memory_order_relaxed); }

 private:
  const std::size_t limit_;
  std::atomic<std::size_t> now_{0};
};

}  // namespace argosy::engine
