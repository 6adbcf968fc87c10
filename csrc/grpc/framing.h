#pragma once

// MessageReader: cuts a stream of DATA slices into gRPC messages (one flag byte, four
// length bytes, the message).
//
// A message that lies inside one slice stays a slice of it. Any other is gathered into
// one buffer of its full length; who reads may say where, once the first bytes tell what
// the message is. Bytes that were received in unfilled() are there already, others are
// copied once. No message is longer than `max_bytes`, and nothing is reserved before its
// length is known to fit.
//
// It decompresses nothing: a message says whether it is compressed, and how is the
// caller's affair.
//
// Thread: one at a time.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

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

// A better place for messages that come in parts.
class MessageRoom {
 public:
  virtual ~MessageRoom() = default;
  // For an uncompressed message of `length` bytes that begins with `begin`. Empty: any.
  virtual Buffer room(std::size_t length, std::span<const std::byte> begin) = 0;
};

class MessageReader {
 public:
  explicit MessageReader(std::size_t max_bytes) : max_bytes_(max_bytes) {}

  // Takes bytes off the front of `data` until it is empty or a message is complete;
  // call again with the rest. No message and ok: more is needed. A failure is final.
  // `rooms`, where given, is asked before `pool`.
  Result<std::optional<Message>> next(Bytes& data, BytesPool& pool, MessageRoom* rooms = nullptr);

  // The part of a message's buffer that is still to be filled, kept alive by itself;
  // empty outside of a message. The next bytes may be received there.
  Buffer unfilled() const { return buffer_ ? buffer_.first(length_).from(gathered_) : Buffer(); }

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
