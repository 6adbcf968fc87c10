#include "base/bytes_pool.h"

#include <array>
#include <bit>
#include <cstdlib>
#include <new>
#include <vector>

#include "base/guarded.h"

namespace argosy {
namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kSmallest = 1u << 10;
constexpr std::size_t kLargestDoubled = 4u << 20;
constexpr std::size_t kDoubled = 13;  // classes 1 KiB, 2 KiB .. 4 MiB
// Four classes for each doubling above, 5, 6, 7, 8, 10, 12 .. 64 MiB: of a block this large no half may go to waste.
constexpr std::size_t kClasses = kDoubled + 16;
constexpr std::size_t kLargestKept = 64u << 20;
constexpr std::size_t kAddressable = std::size_t{1} << 47;  // no process has more; not worth asking for

std::size_t log2(std::size_t power) { return static_cast<std::size_t>(std::countr_zero(power)); }

// size <= kLargestKept
std::size_t class_of(std::size_t size) {
  if (size <= kLargestDoubled) return log2(std::bit_ceil(size < kSmallest ? kSmallest : size)) - log2(kSmallest);
  const std::size_t below = std::bit_floor(size - 1);
  return kDoubled + 4 * (log2(below) - log2(kLargestDoubled)) + (size - 1 - below) / (below / 4);
}

std::size_t size_of(std::size_t index) {
  if (index < kDoubled) return kSmallest << index;
  const std::size_t below = kLargestDoubled << (index - kDoubled) / 4;
  return below + ((index - kDoubled) % 4 + 1) * (below / 4);
}

void* raw_allocate(std::size_t size) {
  if (size > kAddressable) return nullptr;
  return std::aligned_alloc(kAlignment, (size + kAlignment - 1) / kAlignment * kAlignment);
}

}  // namespace

struct HostPool::Shelf {
  struct Free {
    std::array<std::vector<void*>, kClasses> blocks;
    std::size_t bytes = 0;
  };
  explicit Shelf(std::size_t limit) : kept_limit(limit) {}
  ~Shelf() {
    for (auto& blocks : free.lock()->blocks) {
      for (void* block : blocks) std::free(block);
    }
  }

  void* take(std::size_t index) {
    auto held = free.lock();
    auto& blocks = held->blocks[index];
    if (blocks.empty()) return nullptr;
    void* block = blocks.back();
    blocks.pop_back();
    held->bytes -= size_of(index);
    return block;
  }

  void give_back(void* block, std::size_t index) {
    {
      auto held = free.lock();
      if (held->bytes + size_of(index) <= kept_limit) {
        held->blocks[index].push_back(block);
        held->bytes += size_of(index);
        return;
      }
    }
    std::free(block);
  }

  const std::size_t kept_limit;
  Guarded<Free> free;
};

HostPool::HostPool(std::size_t kept_bytes) : shelf_(std::make_shared<Shelf>(kept_bytes)) {}
HostPool::~HostPool() = default;

Buffer HostPool::allocate(std::size_t size) {
  if (size > kLargestKept) {
    void* block = raw_allocate(size);
    if (block == nullptr) return {};
    return {std::shared_ptr<void>(block, [](void* p) { std::free(p); }), static_cast<std::byte*>(block), size};
  }
  const std::size_t index = class_of(size);
  void* block = shelf_->take(index);
  if (block == nullptr) block = raw_allocate(size_of(index));
  if (block == nullptr) return {};
  std::shared_ptr<void> owner(block, [shelf = shelf_, index](void* p) { shelf->give_back(p, index); });
  return {std::move(owner), static_cast<std::byte*>(block), size_of(index)};
}

std::size_t HostPool::kept_bytes() const { return shelf_->free.lock()->bytes; }

BytesPool& default_pool() {
  static HostPool pool;
  return pool;
}

}  // namespace argosy
