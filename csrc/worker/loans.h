#pragma once

// Loans: what one worker process holds of the arena that it shares with the model's
// other workers.
//
// A block stays as long as the worker has not returned each loan of it, or has ended.
// What the worker says about blocks is checked: another worker's are none of its own.
//
// Thread: any.

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>

#include "base/bytes.h"
#include "base/guarded.h"
#include "worker/arena.h"

namespace argosy::worker {

class Loans {
 public:
  explicit Loans(std::shared_ptr<Arena> arena) : arena_(std::move(arena)) {}

  // The worker holds these bytes now, and may write over them. Nothing: they cannot be
  // lent where they lie (see Arena::show) and have to be copied.
  std::optional<Arena::Place> lend(const Bytes& bytes);
  // The worker let go of a block once. False: it did not hold it.
  bool returned(std::uint64_t block);
  // Bytes of a block that the worker holds; nothing if it does not hold all of them.
  std::optional<Bytes> borrow(std::uint64_t offset, std::size_t size) const;
  // The process has ended; it holds nothing, from now on.
  void end();

  Arena& arena() const { return *arena_; }

 private:
  struct Loan {
    std::shared_ptr<const void> owner;
    std::uint64_t begin = 0, end = 0;  // of all that is lent of the block
    std::uint32_t count = 0;
  };
  struct State {
    std::map<std::uint64_t, Loan> by_block;
    bool ended = false;
  };

  const std::shared_ptr<Arena> arena_;
  mutable Guarded<State> state_;
};

}  // namespace argosy::worker
