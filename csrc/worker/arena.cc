#include "worker/arena.h"

#include <algorithm>
#include <iterator>

namespace argosy::worker {

Result<std::shared_ptr<Arena>> Arena::create(const std::string& name, std::size_t capacity, std::size_t kept) {
  auto memory = SharedMemory::create(name, whole_pages(capacity));
  if (!memory.ok()) return memory.status();
  const std::size_t size = memory->size();
  std::shared_ptr<Arena> made(new Arena(*std::move(memory), kept));
  made->state_.lock()->free.emplace(0, size);
  return made;
}

Buffer Arena::allocate(std::size_t size, std::size_t spared) {
  if (size > memory_.size()) return {};
  const std::size_t pages = whole_pages(size);
  std::uint64_t offset = 0;
  {
    auto state = state_.lock();
    const std::size_t unused = memory_.size() - state->used;
    if (pages > unused || unused - pages < spared) return {};
    // The lowest that fits: memory that is in the caches is used again first.
    const auto found = std::ranges::find_if(state->free, [&](const auto& one) { return one.second >= pages; });
    if (found == state->free.end()) return {};
    offset = found->first;
    const std::size_t rest = found->second - pages;
    state->free.erase(found);
    if (rest != 0) state->free.emplace(offset + pages, rest);
    state->blocks.emplace(offset, Block{.size = pages});
    state->touched = std::max<std::uint64_t>(state->touched, offset + pages);
    state->used += pages;
  }
  std::shared_ptr<void> owner(memory_.data() + offset,
                              [self = shared_from_this(), offset](void*) { self->release(offset); });
  return {std::move(owner), memory_.data() + offset, size};
}

std::optional<Arena::Place> Arena::show(const Bytes& bytes) {
  const std::less<const std::byte*> before;
  const std::byte* const begin = memory_.data();
  if (before(bytes.data(), begin) || !before(bytes.data(), begin + memory_.size())) return {};
  const auto offset = static_cast<std::uint64_t>(bytes.data() - begin);
  auto state = state_.lock();
  auto found = state->blocks.upper_bound(offset);
  if (found == state->blocks.begin()) return {};
  auto& [at, block] = *--found;
  const std::uint64_t end = offset + bytes.size();
  if (end > at + block.size) return {};
  const auto behind = block.shown.lower_bound(offset);
  if (behind != block.shown.end() && behind->first < end) return {};
  if (behind != block.shown.begin() && std::prev(behind)->second > offset) return {};
  block.shown.emplace_hint(behind, offset, end);
  return Place{at, offset};
}

std::size_t Arena::used() const { return state_.lock()->used; }

void Arena::release(std::uint64_t offset) {
  auto held = state_.lock();
  State& state = *held;
  const auto block = state.blocks.find(offset);
  std::size_t size = block->second.size;
  state.blocks.erase(block);
  state.used -= size;

  auto after = state.free.lower_bound(offset);
  if (after != state.free.end() && after->first == offset + size) {
    size += after->second;
    after = state.free.erase(after);
  }
  if (after != state.free.begin()) {
    const auto before = std::prev(after);
    if (before->first + before->second == offset) {
      offset = before->first;
      size += before->second;
      state.free.erase(before);
    }
  }
  state.free.emplace(offset, size);
  if (offset + size < state.touched || state.touched <= offset + kept_) return;
  const std::uint64_t keep = (offset + kept_) / kPage * kPage;
  memory_.discard(keep, state.touched - keep);
  state.touched = keep;
}

Result<PeerArena> PeerArena::create(const std::string& name, std::size_t capacity) {
  auto memory = SharedMemory::create(name, whole_pages(capacity));
  if (!memory.ok()) return memory.status();
  return PeerArena(*std::move(memory));
}

std::optional<Bytes> PeerArena::view(std::uint64_t block, std::uint64_t offset, std::size_t size,
                                     Released released) const {
  if (block > offset || offset > memory_->size() || size > memory_->size() - offset) return {};
  std::byte* const data = memory_->data() + offset;
  std::shared_ptr<const void> owner(
      data, [memory = memory_, block, released = std::move(released)](const void*) { released(block); });
  return Bytes(std::move(owner), data, size);
}

}  // namespace argosy::worker
