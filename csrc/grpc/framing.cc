#include "grpc/framing.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <string>
#include <utility>

namespace argosy::grpc {
namespace {

// Large blocks go in pieces: one huge memcpy meets a slow path of some processors.
void copy_into(std::byte* to, std::span<const std::byte> from) {
  constexpr std::size_t kPiece = 256u << 10;
  for (std::size_t at = 0; at < from.size(); at += kPiece) {
    std::memcpy(to + at, from.data() + at, std::min(kPiece, from.size() - at));
  }
}

std::size_t length_in(const std::array<std::byte, kPrefixBytes>& prefix) {
  std::size_t length = 0;
  for (std::size_t i = 1; i < kPrefixBytes; ++i) length = length << 8 | std::to_integer<std::size_t>(prefix[i]);
  return length;
}

}  // namespace

std::optional<Message> MessageReader::complete(Bytes bytes) {
  Message message{std::move(bytes), prefix_[0] == std::byte{1}};
  prefix_read_ = length_ = gathered_ = 0;
  return message;
}

Result<std::optional<Message>> MessageReader::next(Bytes& data, BytesPool& pool, MessageRoom* rooms) {
  if (prefix_read_ < kPrefixBytes) {
    const std::size_t part = std::min(kPrefixBytes - prefix_read_, data.size());
    if (part > 0) std::memcpy(prefix_.data() + prefix_read_, data.data(), part);
    prefix_read_ += part;
    data = data.from(part);
    if (prefix_read_ < kPrefixBytes) return std::optional<Message>{};
    if (prefix_[0] > std::byte{1}) {
      return internal_error("a gRPC message begins with flag " + std::to_string(std::to_integer<int>(prefix_[0])) +
                            ", expected 0 or 1");
    }
    length_ = length_in(prefix_);
    if (length_ > max_bytes_) {
      return resource_exhausted("Received message larger than max (" + std::to_string(length_) + " vs. " +
                                std::to_string(max_bytes_) + ")");
    }
    if (length_ == 0) return complete({});
  }
  if (!buffer_) {
    if (data.size() >= length_) {
      Bytes whole = data.slice(0, length_);
      data = data.from(length_);
      return complete(std::move(whole));
    }
    if (data.empty()) return std::optional<Message>{};
    if (rooms != nullptr && prefix_[0] == std::byte{0}) buffer_ = rooms->room(length_, data.span());
    if (!buffer_) buffer_ = pool.allocate(length_);
    if (!buffer_) return resource_exhausted("no memory for a message of " + std::to_string(length_) + " bytes");
  }
  const std::size_t part = std::min(length_ - gathered_, data.size());
  std::byte* const to = buffer_.data() + gathered_;
  if (data.data() != to) copy_into(to, data.span().first(part));
  gathered_ += part;
  data = data.from(part);
  if (gathered_ < length_) return std::optional<Message>{};
  return complete(std::exchange(buffer_, {}).freeze(length_));
}

std::array<std::byte, kPrefixBytes> message_prefix(std::size_t size, bool compressed) {
  assert(size <= kMaxMessageBytes);
  return {std::byte(compressed ? 1 : 0), std::byte(size >> 24), std::byte(size >> 16 & 255), std::byte(size >> 8 & 255),
          std::byte(size & 255)};
}

}  // namespace argosy::grpc
