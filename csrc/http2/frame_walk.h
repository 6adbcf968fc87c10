#pragma once

// FrameWalk: where in its frames a connection's input stands, told from the bytes alone.
//
// It reads the nine bytes of each frame's head and steps over what follows; it judges
// nothing. What it says of DATA leaves padded frames out: where their payload ends is
// not known from the head.
//
// Thread: its session's.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace argosy::http2 {

class FrameWalk {
 public:
  static constexpr std::size_t kHeadBytes = 9;

  // The input begins with `preface` bytes that are no frame.
  explicit FrameWalk(std::size_t preface) : left_(preface) {}

  void advance(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const std::size_t part = std::min(left_ > 0 ? left_ : kHeadBytes - head_read_, bytes.size());
      if (left_ > 0) {
        left_ -= part;
      } else {
        std::memcpy(head_.data() + head_read_, bytes.data(), part);
        head_read_ += part;
        if (head_read_ == kHeadBytes) begin_frame();
      }
      bytes = bytes.subspan(part);
    }
  }

  // Of the payload under way; 0: a frame's head is next,
  std::size_t left() const { return left_; }
  // of which so much has not come.
  std::size_t head_left() const { return kHeadBytes - head_read_; }

  // The frame that began last is DATA without padding,
  bool data() const { return data_; }
  // for this stream and of this length,
  std::int32_t stream() const { return stream_; }
  std::size_t length() const { return length_; }
  // as were so many right before it.
  std::size_t alike() const { return alike_; }

 private:
  std::size_t number(std::size_t at, std::size_t size) const {
    std::size_t value = 0;
    for (std::size_t i = at; i < at + size; ++i) value = value << 8 | std::to_integer<std::size_t>(head_[i]);
    return value;
  }

  void begin_frame() {
    constexpr std::byte kData{0}, kPadded{8};
    const bool was_data = data_;
    const std::size_t length = number(0, 3);
    const auto stream = static_cast<std::int32_t>(number(5, 4) & 0x7fffffff);
    head_read_ = 0;
    left_ = length;
    data_ = head_[3] == kData && (head_[4] & kPadded) == std::byte{0};
    alike_ = data_ && was_data && stream == stream_ && length == length_ ? alike_ + 1 : 0;
    stream_ = stream;
    length_ = length;
  }

  std::array<std::byte, kHeadBytes> head_{};
  std::size_t head_read_ = 0;
  std::size_t left_;
  std::size_t length_ = 0;
  std::size_t alike_ = 0;
  std::int32_t stream_ = 0;
  bool data_ = false;
};

}  // namespace argosy::http2
