#pragma once

// Arena: shared memory that this process cuts into blocks and others see. Large tensors
// cross the process border in it, by their place instead of by copy.
//
// A block lives while anybody holds the owner of its Bytes; what another process holds
// is Loans' affair. Whoever is shown bytes may write over them, so no byte is shown twice.
// Free pages at the top are given back to the system, so a burst leaves nothing behind.
//
// PeerArena: the other direction; the other process allocates, this one reads, and says
// through `released` which blocks it no longer needs.
//
// Thread: any. Bytes may outlive the arena's other holders.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>

#include "base/bytes.h"
#include "base/guarded.h"
#include "base/status.h"
#include "worker/shared_memory.h"

namespace argosy::worker {

class Arena : public std::enable_shared_from_this<Arena> {
 public:
  // `kept` free bytes at the top stay with the process, for the next tensor.
  static Result<std::shared_ptr<Arena>> create(const std::string& name, std::size_t capacity, std::size_t kept);

  // Empty: no room. `spared`: bytes that must stay free.
  Buffer allocate(std::size_t size, std::size_t spared = 0);

  struct Place {
    std::uint64_t block = 0;  // where the block begins
    std::uint64_t offset = 0;
  };
  // Where these bytes lie, for another process to see. Nothing: outside of the arena, or
  // a process has been shown some of them.
  std::optional<Place> show(const Bytes& bytes);

  const std::byte* at(std::uint64_t offset) const { return memory_.data() + offset; }
  int descriptor() const { return memory_.descriptor(); }
  std::size_t capacity() const { return memory_.size(); }
  std::size_t used() const;  // bytes in blocks

 private:
  struct Block {
    std::size_t size = 0;
    std::map<std::uint64_t, std::uint64_t> shown;  // to other processes: begin -> end
  };
  struct State {
    std::map<std::uint64_t, Block> blocks;
    std::map<std::uint64_t, std::size_t> free;  // offset -> size; neighbours are joined
    std::uint64_t touched = 0;                  // everything from here on was never written, or given back
    std::size_t used = 0;
  };

  Arena(SharedMemory memory, std::size_t kept) : memory_(std::move(memory)), kept_(kept) {}
  void release(std::uint64_t offset);

  const SharedMemory memory_;
  const std::size_t kept_;
  mutable Guarded<State> state_;
};

class PeerArena {
 public:
  using Released = std::function<void(std::uint64_t offset)>;  // any thread; must not block

  static Result<PeerArena> create(const std::string& name, std::size_t capacity);

  // The bytes [offset, offset + size), whose block begins at `block`; its end calls
  // released(block). Nothing: outside of the arena.
  std::optional<Bytes> view(std::uint64_t block, std::uint64_t offset, std::size_t size, Released released) const;
  int descriptor() const { return memory_->descriptor(); }
  std::size_t capacity() const { return memory_->size(); }

 private:
  explicit PeerArena(SharedMemory memory) : memory_(std::make_shared<SharedMemory>(std::move(memory))) {}
  std::shared_ptr<SharedMemory> memory_;
};

}  // namespace argosy::worker
