#include "device/pool.h"

#include <algorithm>
#include <cstring>
#include <string>

namespace argosy::device {
namespace {

constexpr std::uint8_t kPoison = 0xA5;

bool done(const EventPtr& fence) {
  const auto answer = fence->done();
  return answer.ok() && *answer;
}

bool ready(const Block& block) { return std::all_of(block.fences.begin(), block.fences.end(), done); }

// For each, also where one fails: the others may stand for work under way.
Status wait_all(const Block& block) {
  Status first;
  for (const EventPtr& fence : block.fences) {
    if (Status status = fence->wait(); first.ok()) first = std::move(status);
  }
  return first;
}

// The type tells pinned memory from other memory behind a shared_ptr<const void>.
struct PinnedRelease {
  void operator()(Lease* lease) const { delete lease; }
};

}  // namespace

Lease& Lease::operator=(Lease&& other) noexcept {
  if (this != &other) {
    give_back();
    pool_ = std::move(other.pool_);
    block_ = std::move(other.block_);
  }
  return *this;
}

void Lease::give_back() {
  if (pool_ == nullptr) return;
  const auto pool = std::move(pool_);
  pool->put(std::move(block_));
  block_ = {};
}

Memory Lease::share(std::size_t bytes) && {
  std::byte* const data = block_.data;
  const MemoryKind kind = pool_->kind();
  const Place place = kind == MemoryKind::device ? pool_->device()->place() : Place{kind, 0};
  if (kind == MemoryKind::device) return {std::make_shared<Lease>(std::move(*this)), data, bytes, place};
  return {std::shared_ptr<Lease>(new Lease(std::move(*this)), PinnedRelease{}), data, bytes, place};
}

std::shared_ptr<Pool> Pool::make(DevicePtr device, MemoryKind kind, PoolOptions options) {
  return std::shared_ptr<Pool>(new Pool(std::move(device), kind, std::move(options)));
}

Pool::~Pool() {
  for (const Block& block : cache_.lock()->take_all()) {
    // A device that fails here has stopped, and uses the block no more.
    (void)wait_all(block);
    device_->release(kind_, block.data);
  }
}

Status Pool::exhausted(std::size_t bytes) const {
  const PoolStatistics now = statistics();
  return resource_exhausted(std::string(kind_ == MemoryKind::device ? "device" : "pinned") + " memory pool of '" +
                            device_->properties().name + "': no room for " + std::to_string(bytes) + " bytes; " +
                            std::to_string(now.used_bytes) + " of its " + std::to_string(now.limit_bytes) +
                            " bytes are in use" + (set_by_.empty() ? "" : "; " + set_by_ + " sets the limit"));
}

Result<Block> Pool::take_block(std::size_t bytes, bool may_wait) {
  auto decision = cache_.lock()->take(bytes, may_wait, ready);
  if (auto* reuse = std::get_if<BlockCache::Reuse>(&decision)) return std::move(reuse->block);
  auto* make = std::get_if<BlockCache::Make>(&decision);
  if (make == nullptr) return exhausted(bytes);
  for (const Block& block : make->evicted) device_->release(kind_, block.data);
  auto data = device_->allocate(kind_, make->size);
  if (!data.ok()) {
    // Other sizes may hold what is missing.
    trim();
    data = device_->allocate(kind_, make->size);
  }
  if (!data.ok()) {
    cache_.lock()->not_made(make->size);
    return data.status();
  }
  return Block{*data, make->size, {}};
}

Result<Lease> Pool::take(std::size_t bytes) {
  auto block = take_block(bytes, true);
  if (!block.ok()) return block.status();
  Lease taken = lease(*std::move(block));
  if (auto status = wait_all(taken.block_); !status.ok()) return status;
  taken.block_.fences.clear();
  if (poison_ && kind_ != MemoryKind::device) std::memset(taken.data(), kPoison, taken.size());
  return taken;
}

Result<Lease> Pool::take_at_once(std::size_t bytes) {
  auto block = take_block(bytes, false);
  if (!block.ok()) return block.status();
  Lease taken = lease(*std::move(block));
  taken.block_.fences.clear();
  if (poison_ && kind_ != MemoryKind::device) std::memset(taken.data(), kPoison, taken.size());
  return taken;
}

Result<Lease> Pool::take_for(Stream& stream, std::size_t bytes) {
  auto block = take_block(bytes, true);
  if (!block.ok()) return block.status();
  Lease taken = lease(*std::move(block));
  // Those that are pending stay: whoever gives the block back without having used it
  // must not make it look ready.
  std::erase_if(taken.block_.fences, done);
  for (const EventPtr& fence : taken.block_.fences) {
    if (auto status = stream.wait(*fence); !status.ok()) return status;
  }
  if (poison_ && kind_ == MemoryKind::device) {
    if (auto status = stream.fill(taken.data(), kPoison, taken.size()); !status.ok()) return status;
  }
  return taken;
}

void Pool::trim() {
  for (const Block& block : cache_.lock()->take_ready(ready)) device_->release(kind_, block.data);
}

bool is_pinned(const Memory& memory) {
  return memory.place().kind == MemoryKind::pinned || std::get_deleter<PinnedRelease>(memory.owner()) != nullptr;
}

}  // namespace argosy::device
