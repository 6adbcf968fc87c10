#pragma once

// Bytes: an immutable, reference-counted slice of host memory. Copying or slicing
// one copies no bytes; the memory lives as long as any slice of it.
// Buffer: the same memory while its one owner still writes it; freeze() turns the
// written part into Bytes.
//
// Thread: Bytes any; a Buffer belongs to one thread at a time.

#include <cassert>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace argosy {

class Bytes {
 public:
  Bytes() = default;
  // `owner` keeps [data, data + size) alive and unchanged.
  Bytes(std::shared_ptr<const void> owner, const std::byte* data, std::size_t size)
      : owner_(std::move(owner)), data_(data), size_(size) {}

  static Bytes copy_of(std::span<const std::byte> from);
  static Bytes copy_of(std::string_view text) { return copy_of(std::as_bytes(std::span(text))); }
  static Bytes take(std::string text);  // owns the string; no copy beyond short-string moves

  const std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::span<const std::byte> span() const { return {data_, size_}; }
  std::string_view view() const { return {reinterpret_cast<const char*>(data_), size_}; }
  const std::shared_ptr<const void>& owner() const { return owner_; }

  // offset + count <= size().
  Bytes slice(std::size_t offset, std::size_t count) const {
    assert(offset <= size_ && count <= size_ - offset);
    return {owner_, data_ + offset, count};
  }
  Bytes from(std::size_t offset) const { return slice(offset, size_ - offset); }

 private:
  std::shared_ptr<const void> owner_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

class Buffer {
 public:
  Buffer() = default;
  Buffer(std::shared_ptr<void> owner, std::byte* data, std::size_t capacity)
      : owner_(std::move(owner)), data_(data), capacity_(capacity) {}

  std::byte* data() { return data_; }
  std::size_t capacity() const { return capacity_; }
  explicit operator bool() const { return data_ != nullptr; }
  // The same memory without its first `offset` bytes.
  Buffer from(std::size_t offset) && {
    assert(offset <= capacity_);
    return {std::move(owner_), data_ + offset, capacity_ - offset};
  }
  std::span<std::byte> span() { return {data_, capacity_}; }

  Bytes freeze(std::size_t size) && {
    assert(size <= capacity_);
    return {std::move(owner_), data_, size};
  }
  // A slice of what has been written so far; the writer must not change it again.
  Bytes written(std::size_t offset, std::size_t size) const {
    assert(offset <= capacity_ && size <= capacity_ - offset);
    return {owner_, data_ + offset, size};
  }
  // What lies behind the first `offset` bytes, kept alive by itself.
  Buffer from(std::size_t offset) const& {
    assert(offset <= capacity_);
    return {owner_, data_ + offset, capacity_ - offset};
  }
  Buffer first(std::size_t size) const {
    assert(size <= capacity_);
    return {owner_, data_, size};
  }

 private:
  std::shared_ptr<void> owner_;
  std::byte* data_ = nullptr;
  std::size_t capacity_ = 0;
};

}  // namespace argosy
