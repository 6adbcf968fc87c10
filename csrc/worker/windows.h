#pragma once

// Windows: how much of each request's stream has reached its reader, in shared memory,
// so that a model which is ahead of a slow reader waits instead of filling memory.
//
// Per slot, 16 bytes: u32 units delivered (the futex word), u32 generation of the request
// they belong to, u32 1 while the model may sleep, u32 0. What a response counts is the
// worker's business; it is told here in units and given back in the same.
//
// Thread: any.

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>

#include "worker/in_flight.h"

namespace argosy::worker {

class Windows {
 public:
  struct Slot {
    std::atomic<std::uint64_t> delivered;  // generation in the high half
    std::atomic<std::uint32_t> sleeping;
    std::uint32_t unused;
  };
  static_assert(sizeof(Slot) == 16);

  // `slots` live as long as `owner`.
  Windows(std::shared_ptr<const void> owner, std::span<Slot> slots) : owner_(std::move(owner)), slots_(slots) {}

  void open(Handle handle);  // a new request: nothing is delivered
  // To be dropped when `units` of this request's have been delivered, or never will be.
  std::shared_ptr<const void> ticket(Handle handle, std::uint32_t units) const;

 private:
  static void deliver(Slot& slot, std::uint32_t generation, std::uint32_t units);

  const std::shared_ptr<const void> owner_;
  const std::span<Slot> slots_;
};

}  // namespace argosy::worker
