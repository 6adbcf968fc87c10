#pragma once

// Outbox: hands finished answers to their sinks; in arrival order across instances
// where a model asks for it (preserve_ordering), at once otherwise.
//
// Every accepted request must be put exactly once. Sinks are called without a lock; in
// order, one thread sends for all, so that two batches cannot overtake each other.
//
// Thread: any.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/gate.h"
#include "base/guarded.h"
#include "infer/reply.h"
#include "sched/ordered_release.h"

namespace argosy::engine {

struct Outgoing {
  std::uint64_t order = 0;  // the policy's; unused without ordering
  infer::Reply reply;
  infer::Response last;
  std::vector<infer::Response> parts;  // streamed before it, held back by the order
};

class Outbox {
 public:
  // Each answer sent leaves `gate`.
  Outbox(bool ordered, Gate& gate) : ordered_(ordered), gate_(gate) {}

  bool ordered() const { return ordered_; }

  // Nothing earlier is outstanding: a streamed part may pass at once.
  bool is_next(std::uint64_t order) {
    if (!ordered_) return true;
    auto state = state_.lock();
    return !state->sending && state->ready.empty() && state->release.is_next(order);
  }

  void put(std::span<Outgoing> answers) {
    if (!ordered_) {
      for (auto& answer : answers) send(answer);
      gate_.leave(answers.size());
      return;
    }
    std::vector<std::unique_ptr<Outgoing>> released;
    {
      auto state = state_.lock();
      for (auto& answer : answers) {
        const std::uint64_t order = answer.order;
        state->release.put(order, std::make_unique<Outgoing>(std::move(answer)), state->ready);
      }
      if (state->sending || state->ready.empty()) return;
      state->sending = true;
    }
    for (;;) {
      {
        auto state = state_.lock();
        released.clear();
        released.swap(state->ready);
        if (released.empty()) {
          state->sending = false;
          return;
        }
      }
      for (auto& answer : released) send(*answer);
      gate_.leave(released.size());
    }
  }

 private:
  struct State {
    sched::OrderedRelease<std::unique_ptr<Outgoing>> release;  // an allocation, only where order is asked for
    std::vector<std::unique_ptr<Outgoing>> ready;
    bool sending = false;
  };

  static void send(Outgoing& answer) {
    for (auto& part : answer.parts) answer.reply.stream(std::move(part));
    std::move(answer.reply).finish(std::move(answer.last));
  }

  const bool ordered_;
  Gate& gate_;  // the lane's, as this is
  Guarded<State> state_;
};

}  // namespace argosy::engine
