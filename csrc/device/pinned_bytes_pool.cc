#include "device/pinned_bytes_pool.h"

namespace argosy::device {

Buffer PinnedBytesPool::allocate(std::size_t size) {
  if (size < smallest_) return otherwise_.allocate(size);
  auto lease = pinned_->take_at_once(size);
  if (!lease.ok()) return otherwise_.allocate(size);
  std::byte* const data = lease->data();
  const std::size_t capacity = lease->size();
  const Memory memory = (*std::move(lease)).share(capacity);
  return {std::const_pointer_cast<void>(memory.owner()), data, capacity};
}

}  // namespace argosy::device
