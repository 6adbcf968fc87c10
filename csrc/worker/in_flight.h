#pragma once

// InFlight: the requests that a worker works on, and how a caller's cancellation reaches
// it: one word per request in shared memory, which the model may look at for nothing.
//
// A request is named by a handle: slot in the low half, generation in the high half, so
// that a late word about an old request cannot touch a new one. It stays with the
// runner's batch (placed) or is kept here until its last response.
//
// Thread: add, keep, settle: the runner's; respond, take, close: whose turn it is to read
// calls. A kept request is touched by nobody else.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/guarded.h"
#include "infer/request.h"

namespace argosy::worker {

using Handle = std::uint64_t;

constexpr std::uint32_t slot_of(Handle handle) { return static_cast<std::uint32_t>(handle); }
constexpr std::uint32_t generation_of(Handle handle) { return static_cast<std::uint32_t>(handle >> 32); }

class InFlight {
 public:
  // `flags[slot]` becomes the generation whose caller left; they live as long as `owner`.
  // `left` is told the handle, on the cancelling thread.
  InFlight(std::shared_ptr<const void> owner, std::span<std::atomic<std::uint32_t>> flags,
           std::function<void(Handle)> left);
  ~InFlight();

  // Nothing: all slots are taken, or closed.
  std::optional<Handle> add(infer::Request& request);
  // The request stays until it is answered. A response that has come already is given
  // back together with the request.
  std::optional<infer::Response> keep(Handle handle, infer::RequestPtr& request);
  // The runner answers: the slot is free again.
  void settle(Handle handle);

  // A response from the worker; unknown handles (answered, cancelled, invented) are
  // dropped. `fit` looks at a response before it leaves.
  using Fit = std::function<void(const infer::Request&, infer::Response&)>;
  void respond(Handle handle, std::optional<infer::Response> response, bool last, bool decoupled, const Fit& fit);

  // A kept request that the worker gives back unanswered; null: there is none.
  infer::RequestPtr take(Handle handle);

  // Answers what is kept with `why`; nothing is taken from now on.
  void close(const Status& why);

  std::size_t kept() const;

 private:
  struct Entry {
    std::uint32_t generation = 0;
    bool used = false;
    infer::RequestPtr request;  // kept
    std::shared_ptr<infer::Cancellation> cancellation;
    std::optional<infer::Response> early;  // answered while still placed
  };
  struct State {
    std::vector<Entry> entries;
    std::vector<std::uint32_t> free;
    bool closed = false;
  };
  class Listener;

  Entry* find(State& state, Handle handle);
  // Frees the slot; the request, if it was kept.
  infer::RequestPtr release(State& state, Handle handle);

  const std::shared_ptr<const void> owner_;
  const std::span<std::atomic<std::uint32_t>> flags_;
  const std::function<void(Handle)> left_;
  mutable Guarded<State> state_;
};

}  // namespace argosy::worker
