#pragma once

// BlockCache: which free block serves a request for memory, within a limit of bytes.
//
// Bookkeeping alone: it allocates and waits for nothing, and says what to do instead.
// Blocks come in classes four to a doubling, so that at most a quarter is wasted. A
// free block may still be in use by enqueued work: its fences say until when.
//
// Limit:  used + cached never exceed it, nor do blocks about to be made.
// Thread: one at a time; Pool keeps it inside a Guarded.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <variant>
#include <vector>

#include "device/device.h"

namespace argosy::device {

struct Block {
  std::byte* data = nullptr;
  std::size_t size = 0;          // of its class
  std::vector<EventPtr> fences;  // not to be touched before these are done
};

struct PoolStatistics {
  std::size_t limit_bytes = 0;
  std::size_t used_bytes = 0;        // in blocks that are taken
  std::size_t cached_bytes = 0;      // in free blocks
  std::size_t high_water_bytes = 0;  // the most that was ever used
  std::uint64_t taken = 0;
  std::uint64_t misses = 0;  // of these: a block had to be made
  std::uint64_t refused = 0;
  friend bool operator==(const PoolStatistics&, const PoolStatistics&) = default;
};

class BlockCache {
 public:
  using Ready = std::function<bool(const Block&)>;

  struct Reuse {
    Block block;
  };  // counted as used; its fences may be pending
  // Counted as used. Release `evicted`, then make a block of `size`; not_made() if that fails.
  struct Make {
    std::size_t size = 0;
    std::vector<Block> evicted;
  };
  struct Refuse {};
  using Decision = std::variant<Reuse, Make, Refuse>;

  explicit BlockCache(std::size_t limit_bytes) { counts_.limit_bytes = limit_bytes; }

  // A ready block; else a new one while there is room; else, for those who can wait, a
  // pending one; else a new one in place of ready blocks of other sizes.
  Decision take(std::size_t bytes, bool may_wait, const Ready& ready);

  void give_back(Block block);
  void not_made(std::size_t size);  // after Make

  std::vector<Block> take_ready(const Ready& ready);  // all that are free and ready, to be released
  std::vector<Block> take_all();                      // all that are free

  const PoolStatistics& statistics() const { return counts_; }

  static std::size_t class_size(std::size_t bytes);  // what a block for so many bytes has; 0: impossible

 private:
  Block pull(std::map<std::size_t, std::deque<Block>>::iterator shelf, std::size_t index);
  void count_used(std::size_t size);
  bool evict(std::size_t room, const Ready& ready, std::vector<Block>& evicted);

  std::map<std::size_t, std::deque<Block>> free_;  // by size; given back last stands last
  PoolStatistics counts_;
};

}  // namespace argosy::device
