#include "worker/windows.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <limits>
#include <utility>

namespace argosy::worker {

void Windows::open(Handle handle) {
  slots_[slot_of(handle)].delivered.store(static_cast<std::uint64_t>(generation_of(handle)) << 32);
}

std::shared_ptr<const void> Windows::ticket(Handle handle, std::uint32_t units) const {
  if (slot_of(handle) >= slots_.size()) return nullptr;
  Slot& slot = slots_[slot_of(handle)];
  return {&slot, [owner = owner_, &slot, generation = generation_of(handle), units](const void*) {
            deliver(slot, generation, units);
          }};
}

void Windows::deliver(Slot& slot, std::uint32_t generation, std::uint32_t units) {
  std::uint64_t seen = slot.delivered.load();
  std::uint64_t next = 0;
  do {
    if (static_cast<std::uint32_t>(seen >> 32) != generation) return;  // the slot is another request's by now
    next = (seen & ~std::uint64_t{0xffffffff}) | static_cast<std::uint32_t>(static_cast<std::uint32_t>(seen) + units);
  } while (!slot.delivered.compare_exchange_weak(seen, next));
  // After the exchange, a full fence: either this sees the sleeper, or it sees the new units.
  if (slot.sleeping.load() == 0) return;
  syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&slot.delivered), FUTEX_WAKE, std::numeric_limits<int>::max(),
          nullptr, nullptr, 0);
}

}  // namespace argosy::worker
