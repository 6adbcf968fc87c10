#pragma once

// SharedMemory: anonymous memory that another process can be given as a descriptor.
//
// It has no name and no place in a file system: whatever happens to the processes, it
// is gone when the last of them is. Its size is sealed, so that whoever maps it cannot
// shrink it under the other. Pages cost memory only once they are written.
//
// Thread: immutable after creation; the bytes are whoever's protocol says.

#include <cstddef>
#include <span>
#include <string>
#include <utility>

#include "base/status.h"

namespace argosy::worker {

inline constexpr std::size_t kPage = 4096;

// The size of the pages that hold `size` bytes: at least one.
constexpr std::size_t whole_pages(std::size_t size) { return (size + kPage - (size != 0)) / kPage * kPage; }

class SharedMemory {
 public:
  // Zeroed. `name` is for /proc and messages only.
  static Result<SharedMemory> create(const std::string& name, std::size_t size);

  SharedMemory() = default;
  SharedMemory(SharedMemory&& other) noexcept { *this = std::move(other); }
  SharedMemory& operator=(SharedMemory&& other) noexcept;
  ~SharedMemory();

  int descriptor() const { return descriptor_; }
  std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }

  // Gives the pages of [offset, offset + count) back; they read as zero afterwards.
  // Both are multiples of the page size.
  void discard(std::size_t offset, std::size_t count) const;

 private:
  int descriptor_ = -1;
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace argosy::worker
