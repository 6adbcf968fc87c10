#pragma once

// JsonWriter: JSON text into pooled chunks, so that a large answer never moves to
// grow. It writes what it is told; commas and brackets are the caller's.
//
// Thread: one at a time. Throws bad_alloc alone, when the pool is out of memory.

#include <algorithm>
#include <charconv>
#include <cstring>
#include <new>
#include <string_view>
#include <utility>

#include "base/bytes_pool.h"
#include "kserve/gather.h"

namespace argosy::kserve {

class JsonWriter {
 public:
  explicit JsonWriter(BytesPool& pool) : pool_(pool) {}

  // At least `size` bytes to write to (size <= 1024); then wrote() says where they end.
  char* room(std::size_t size) {
    if (static_cast<std::size_t>(end_ - at_) < size) next_chunk();
    return at_;
  }
  void wrote(char* end) { at_ = end; }

  void raw(std::string_view text) {
    while (!text.empty()) {
      if (at_ == end_) next_chunk();
      const std::size_t part = std::min(text.size(), static_cast<std::size_t>(end_ - at_));
      std::memcpy(at_, text.data(), part);
      at_ += part;
      text.remove_prefix(part);
    }
  }
  void put(char c) {
    *room(1) = c;
    ++at_;
  }
  void string(std::string_view text);  // quoted and escaped; bytes above 0x7f pass as they are
  template <class Integer>
  void integer(Integer value) {
    char* const to = room(24);
    at_ = std::to_chars(to, to + 24, value).ptr;
  }

  Gather finish() &&;

 private:
  void next_chunk();
  void flush();

  BytesPool& pool_;
  Gather out_;
  Buffer chunk_;
  char* at_ = nullptr;
  char* end_ = nullptr;
};

}  // namespace argosy::kserve
