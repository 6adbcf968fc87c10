#pragma once

// BytesPool: where receive and batch buffers come from.
//
// Buffers are kept in size classes, up to a limit, and reused, because a fresh page
// costs more than the copy that fills it; what is beyond the limit, and buffers above
// 64 MiB, go back to the system, so that resident memory returns after a burst. On a GPU host the composition
// root passes a pool of pinned memory, and network bytes land where the device can
// read them.
//
// Thread: any. Buffers may outlive the pool.

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/bytes.h"

namespace argosy {

class BytesPool {
 public:
  virtual ~BytesPool() = default;

  // At least `size` bytes, 64-byte aligned, uninitialised. An empty Buffer (false):
  // there is no memory of this size.
  virtual Buffer allocate(std::size_t size) = 0;
};

class HostPool final : public BytesPool {
 public:
  // Keeps at most `kept_bytes` of free memory in all size classes together.
  explicit HostPool(std::size_t kept_bytes = 64u << 20);
  ~HostPool() override;

  Buffer allocate(std::size_t size) override;

  std::size_t kept_bytes() const;  // free memory held now

 private:
  struct Shelf;
  std::shared_ptr<Shelf> shelf_;
};

// The process-wide pool for code that was given none.
BytesPool& default_pool();

}  // namespace argosy
