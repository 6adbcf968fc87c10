#pragma once

// MessageReader: cuts a stream of DATA slices into gRPC messages (one flag byte, four
// length bytes, the message).
//
// A message that lies inside one slice stays a slice of it. Any other is gathered into
// one buffer of its full length, so its bytes are copied at most once. No message is
// longer than `max_bytes`, and nothing is reserved before its length is known to fit.
//
// It decompresses nothing: a message says whether it is compressed, and how is the
// caller's affair.
//
// Thread: one at a time.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "base/bytes_pool.h"
#include "base/status.h"

namespace argosy::grpc {

inline constexpr std::size_t kPrefixBytes = 5;
inline constexpr std::size_t kMaxMessageBytes = 0x7fffffff;

struct Message {
  Bytes bytes;
  bool compressed = false;
};

class MessageReader {
 public:
  explicit MessageReader(std::size_t max_bytes) : max_bytes_(max_bytes) {}

  // Takes bytes off the front of `data` until it is empty or a message is complete;
  // call again with the rest. No message and ok: more is needed. A failure is final.
  Result<std::optional<Message>> next(Bytes& data, BytesPool& pool);

  // Whether the stream may end here: not inside a message.
  bool between_messages() const { return prefix_read_ == 0; }

 private:
  std::optional<Message> complete(Bytes bytes);

  const std::size_t max_bytes_;
  std::array<std::byte, kPrefixBytes> prefix_{};
  std::size_t prefix_read_ = 0;
  std::size_t length_ = 0;    // once the prefix is read
  std::size_t gathered_ = 0;  // bytes of it in buffer_
  Buffer buffer_;
};

// The prefix that stands before a message of `size` bytes; size <= kMaxMessageBytes.
std::array<std::byte, kPrefixBytes> message_prefix(std::size_t size, bool compressed);

}  // namespace argosy::grpc
