#pragma once

// Outgoing: gathers what one pull produces. Small pieces (frame heads, header blocks,
// little payloads) are copied next to each other into pooled blocks; large slices
// stand between them uncopied. So a burst of small answers is one run of bytes, and a
// big tensor costs a reference.
//
// Invariant: bytes given out are never written again; a new block starts instead.
// Thread: its session's.

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <new>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/bytes_pool.h"

namespace argosy::http2 {

class Outgoing {
 public:
  static constexpr std::size_t kCopied = 1024;  // up to here a copy is cheaper than one more iovec
  static constexpr std::size_t kBlock = 16u << 10;

  explicit Outgoing(BytesPool& pool) : pool_(pool) {}

  void begin(std::vector<Bytes>& out) {
    out_ = &out;
    bytes_ = 0;
    start_ = used_;
  }
  std::size_t bytes() const { return bytes_; }

  void copy(std::span<const std::byte> piece) {
    bytes_ += piece.size();
    while (!piece.empty()) {
      if (used_ == block_.capacity()) next_block();
      const std::size_t part = std::min(piece.size(), block_.capacity() - used_);
      std::memcpy(block_.data() + used_, piece.data(), part);
      used_ += part;
      piece = piece.subspan(part);
    }
  }

  void add(Bytes slice) {
    if (slice.size() <= kCopied) return copy(slice.span());
    flush();
    bytes_ += slice.size();
    out_->push_back(std::move(slice));
  }

  // Hands over what has been copied since the last large slice.
  void flush() {
    if (used_ > start_) out_->push_back(block_.written(start_, used_ - start_));
    start_ = used_;
  }

 private:
  void next_block() {
    flush();
    block_ = pool_.allocate(kBlock);
    if (!block_) block_ = default_pool().allocate(kBlock);
    if (!block_) throw std::bad_alloc();
    used_ = start_ = 0;
  }

  BytesPool& pool_;
  std::vector<Bytes>* out_ = nullptr;
  Buffer block_;
  std::size_t used_ = 0;
  std::size_t start_ = 0;
  std::size_t bytes_ = 0;
};

// LittleWrites: memory for small pieces that a stream writes; one block serves many.
class LittleWrites {
 public:
  static constexpr std::size_t kBlock = 16u << 10;

  explicit LittleWrites(BytesPool& pool) : pool_(pool) {}

  std::span<std::byte> place(std::size_t size) {
    if (!block_ || block_.capacity() - used_ < size) {
      block_ = pool_.allocate(std::max(kBlock, size));
      if (!block_) block_ = default_pool().allocate(std::max(kBlock, size));
      if (!block_) throw std::bad_alloc();
      used_ = 0;
    }
    used_ += size;
    return block_.span().subspan(used_ - size, size);
  }
  // What place() gave last, filled.
  Bytes slice(std::span<const std::byte> placed) const { return block_.written(used_ - placed.size(), placed.size()); }

 private:
  BytesPool& pool_;
  Buffer block_;
  std::size_t used_ = 0;
};

}  // namespace argosy::http2
