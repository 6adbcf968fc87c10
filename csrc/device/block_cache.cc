#include "device/block_cache.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace argosy::device {
namespace {

constexpr std::size_t kSmallest = 4096;  // a page: pinning less pins as much

}  // namespace

std::size_t BlockCache::class_size(std::size_t bytes) {
  if (bytes <= kSmallest) return kSmallest;
  if (bytes > std::numeric_limits<std::size_t>::max() / 4) return 0;
  const std::size_t step = std::bit_floor(bytes - 1) / 4;
  return (bytes + step - 1) / step * step;
}

Block BlockCache::pull(std::map<std::size_t, std::deque<Block>>::iterator shelf, std::size_t index) {
  Block block = std::move(shelf->second[index]);
  shelf->second.erase(shelf->second.begin() + static_cast<std::ptrdiff_t>(index));
  if (shelf->second.empty()) free_.erase(shelf);
  counts_.cached_bytes -= block.size;
  return block;
}

void BlockCache::count_used(std::size_t size) {
  ++counts_.taken;
  counts_.used_bytes += size;
  counts_.high_water_bytes = std::max(counts_.high_water_bytes, counts_.used_bytes);
}

bool BlockCache::evict(std::size_t room, const Ready& ready, std::vector<Block>& evicted) {
  // Who is asked for least is not known; large blocks make room soonest.
  std::size_t gained = 0;
  std::vector<std::pair<std::size_t, std::size_t>> chosen;
  for (auto shelf = free_.rbegin(); shelf != free_.rend() && gained < room; ++shelf) {
    for (std::size_t i = 0; i < shelf->second.size() && gained < room; ++i) {
      if (!ready(shelf->second[i])) continue;
      chosen.emplace_back(shelf->first, i);
      gained += shelf->first;
    }
  }
  if (gained < room) return false;
  // From the back, so that the indices before stay right.
  for (auto one = chosen.rbegin(); one != chosen.rend(); ++one) {
    evicted.push_back(pull(free_.find(one->first), one->second));
  }
  return true;
}

BlockCache::Decision BlockCache::take(std::size_t bytes, bool may_wait, const Ready& ready) {
  const std::size_t size = class_size(bytes);
  if (size == 0 || size > counts_.limit_bytes) {
    ++counts_.refused;
    return Refuse{};
  }
  const auto shelf = free_.find(size);
  if (shelf != free_.end()) {
    for (std::size_t i = 0; i < shelf->second.size(); ++i) {
      if (!ready(shelf->second[i])) continue;
      count_used(size);
      return Reuse{pull(shelf, i)};
    }
  }
  Make make{size, {}};
  const std::size_t held = counts_.used_bytes + counts_.cached_bytes;
  if (held + size > counts_.limit_bytes) {
    if (shelf != free_.end() && may_wait) {
      count_used(size);
      return Reuse{pull(shelf, 0)};  // the one that was given back first is ready soonest
    }
    if (!evict(held + size - counts_.limit_bytes, ready, make.evicted)) {
      ++counts_.refused;
      return Refuse{};
    }
  }
  ++counts_.misses;
  count_used(size);
  return make;
}

void BlockCache::give_back(Block block) {
  counts_.used_bytes -= block.size;
  counts_.cached_bytes += block.size;
  auto& shelf = free_[block.size];
  shelf.push_back(std::move(block));
}

void BlockCache::not_made(std::size_t size) { counts_.used_bytes -= size; }

std::vector<Block> BlockCache::take_ready(const Ready& ready) {
  std::vector<Block> taken;
  std::map<std::size_t, std::deque<Block>> pending;
  for (auto& [size, blocks] : free_) {
    for (Block& block : blocks) {
      if (ready(block)) {
        counts_.cached_bytes -= size;
        taken.push_back(std::move(block));
      } else {
        pending[size].push_back(std::move(block));
      }
    }
  }
  free_ = std::move(pending);
  return taken;
}

std::vector<Block> BlockCache::take_all() {
  return take_ready([](const Block&) { return true; });
}

}  // namespace argosy::device
