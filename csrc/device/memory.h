#pragma once

// Memory: an immutable, reference-counted slice of bytes that lives somewhere:
// ordinary host memory, pinned host memory, or a device. Copying or slicing one
// copies no bytes.
//
// Only host and pinned memory may be read through data(); a device pointer goes to
// the device's own copy calls.
//
// Thread: any.

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "base/bytes.h"

namespace argosy::device {

enum class MemoryKind : std::uint8_t { host, pinned, device };

struct Place {
  MemoryKind kind = MemoryKind::host;
  int device = 0;  // which GPU; meaningful for MemoryKind::device only
  friend bool operator==(const Place&, const Place&) = default;
};

class Memory {
 public:
  Memory() = default;
  Memory(Bytes bytes, MemoryKind kind = MemoryKind::host)  // NOLINT: every Bytes is a Memory
      : owner_(bytes.owner()), data_(bytes.data()), size_(bytes.size()), place_{kind, 0} {
    assert(kind != MemoryKind::device);
  }
  Memory(std::shared_ptr<const void> owner, const std::byte* data, std::size_t size, Place place)
      : owner_(std::move(owner)), data_(data), size_(size), place_(place) {}

  const std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  const Place& place() const { return place_; }
  bool on_host() const { return place_.kind != MemoryKind::device; }
  const std::shared_ptr<const void>& owner() const { return owner_; }

  // The same bytes as host Bytes; only when on_host().
  Bytes bytes() const {
    assert(on_host());
    return {owner_, data_, size_};
  }

  // offset + count <= size().
  Memory slice(std::size_t offset, std::size_t count) const {
    assert(offset <= size_ && count <= size_ - offset);
    return {owner_, data_ + offset, count, place_};
  }

 private:
  std::shared_ptr<const void> owner_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  Place place_;
};

}  // namespace argosy::device
