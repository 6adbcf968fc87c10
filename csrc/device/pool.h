#pragma once

// Pool: pinned or device memory in blocks that are kept and used again, because
// making one takes the driver longer than a small batch takes to run.
//
// A block may be given back while enqueued work still uses it: the fences put on its
// Lease keep it from the next user until then. That user either is the host, which
// waits, or a stream, which is told to wait; nobody waits while there is room for
// another block.
//
// Thread: any. Leases outlive the pool's other owners, never the pool.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "base/guarded.h"
#include "base/status.h"
#include "device/block_cache.h"
#include "device/device.h"

namespace argosy::device {

class Pool;

// One block, for as long as this lives. Movable.
class Lease {
 public:
  Lease() = default;
  Lease(Lease&& other) noexcept : pool_(std::move(other.pool_)), block_(std::move(other.block_)) {}
  Lease& operator=(Lease&& other) noexcept;
  ~Lease() { give_back(); }

  std::byte* data() const { return block_.data; }
  std::size_t size() const { return block_.size; }
  explicit operator bool() const { return pool_ != nullptr; }

  // Nobody gets the block before `event`, recorded by now, is done.
  void fence(EventPtr event) { block_.fences.push_back(std::move(event)); }
  void give_back();

  // The first `bytes` of it; the block is given back with the last slice.
  Memory share(std::size_t bytes) &&;

 private:
  friend class Pool;
  Lease(std::shared_ptr<Pool> pool, Block block) : pool_(std::move(pool)), block_(std::move(block)) {}
  std::shared_ptr<Pool> pool_;
  Block block_;
};

struct PoolOptions {
  std::size_t limit_bytes = 0;  // of the blocks that are taken and those that are kept
  bool poison = false;          // for tests: who reads before writing reads nonsense
  std::string set_by = {};      // what sets the limit, for the message that it is reached
};

class Pool : public std::enable_shared_from_this<Pool> {
 public:
  static std::shared_ptr<Pool> make(DevicePtr device, MemoryKind kind, PoolOptions options);
  ~Pool();

  // resource_exhausted, each: neither the limit nor the device has room. The message
  // names the pool and its numbers.
  Result<Lease> take(std::size_t bytes);                      // the host may use it; may block at the limit
  Result<Lease> take_at_once(std::size_t bytes);              // likewise, and never blocks
  Result<Lease> take_for(Stream& stream, std::size_t bytes);  // for what is enqueued on `stream` from now on

  void trim();  // gives blocks that nobody uses back to the device
  PoolStatistics statistics() const { return cache_.lock()->statistics(); }

  // Somebody did with ordinary memory what this pool is for; true: the first.
  bool did_without() { return without_.fetch_add(1, std::memory_order_relaxed) == 0; }
  std::uint64_t done_without() const { return without_.load(std::memory_order_relaxed); }
  MemoryKind kind() const { return kind_; }
  const DevicePtr& device() const { return device_; }

 private:
  friend class Lease;
  Pool(DevicePtr device, MemoryKind kind, PoolOptions options)
      : device_(std::move(device)),
        kind_(kind),
        poison_(options.poison),
        set_by_(std::move(options.set_by)),
        cache_(options.limit_bytes) {}

  Result<Block> take_block(std::size_t bytes, bool may_wait);
  Lease lease(Block block) { return Lease(shared_from_this(), std::move(block)); }
  void put(Block block) { cache_.lock()->give_back(std::move(block)); }
  Status exhausted(std::size_t bytes) const;

  const DevicePtr device_;
  const MemoryKind kind_;
  const bool poison_;
  const std::string set_by_;
  std::atomic<std::uint64_t> without_{0};  // a count; nothing else hangs on it
  mutable Guarded<BlockCache> cache_;
};

// Whether a device can read `memory` while the host goes on: it came out of a pinned
// pool, whoever has sliced or renamed it since.
bool is_pinned(const Memory& memory);

}  // namespace argosy::device
