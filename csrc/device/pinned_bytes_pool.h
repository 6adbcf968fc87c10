#pragma once

// PinnedBytesPool: receive and batch buffers in pinned memory, so that a device reads
// network bytes where they landed. What the pinned pool has no room for, and what is
// too small to matter, is ordinary memory; the assembler stages that.
//
// Thread: any. Never blocks. Buffers may outlive it.

#include <memory>

#include "base/bytes_pool.h"
#include "device/pool.h"

namespace argosy::device {

class PinnedBytesPool final : public BytesPool {
 public:
  // `otherwise` outlives this. Below `smallest` bytes nothing is pinned.
  PinnedBytesPool(std::shared_ptr<Pool> pinned, BytesPool& otherwise, std::size_t smallest = 16u << 10)
      : pinned_(std::move(pinned)), otherwise_(otherwise), smallest_(smallest) {}

  Buffer allocate(std::size_t size) override;

 private:
  const std::shared_ptr<Pool> pinned_;
  BytesPool& otherwise_;
  const std::size_t smallest_;
};

}  // namespace argosy::device
