#include "load/proto_wire.h"

namespace argosy::load {

bool ProtoReader::read_varint(std::uint64_t& to) {
  to = 0;
  for (std::size_t i = 0; i < rest_.size() && i < 10; ++i) {
    const auto byte = static_cast<std::uint8_t>(rest_[i]);
    to |= static_cast<std::uint64_t>(byte & 0x7F) << (7 * i);
    if (byte < 0x80) {
      rest_.remove_prefix(i + 1);
      return true;
    }
  }
  return false;
}

bool ProtoReader::read_fixed(std::size_t size) {
  if (rest_.size() < size) return false;
  number_ = 0;
  for (std::size_t i = 0; i < size; ++i)
    number_ |= static_cast<std::uint64_t>(static_cast<std::uint8_t>(rest_[i])) << (8 * i);
  rest_.remove_prefix(size);
  return true;
}

bool ProtoReader::next() {
  if (!ok_ || rest_.empty()) return false;
  std::uint64_t tag = 0;
  ok_ = read_varint(tag);
  field_ = static_cast<std::uint32_t>(tag >> 3);
  wire_type_ = static_cast<std::uint32_t>(tag & 7);
  bytes_ = {};
  if (!ok_) return false;
  switch (wire_type_) {
    case 0: ok_ = read_varint(number_); break;
    case 1: ok_ = read_fixed(8); break;
    case 5: ok_ = read_fixed(4); break;
    case 2: {
      std::uint64_t size = 0;
      ok_ = read_varint(size) && size <= rest_.size();
      if (ok_) {
        bytes_ = rest_.substr(0, static_cast<std::size_t>(size));
        rest_.remove_prefix(static_cast<std::size_t>(size));
      }
      break;
    }
    default: ok_ = false;
  }
  return ok_;
}

void append_varint(std::string& to, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) to += static_cast<char>(value | 0x80);
  to += static_cast<char>(value);
}

void append_uint_field(std::string& to, std::uint32_t field, std::uint64_t value) {
  append_varint(to, static_cast<std::uint64_t>(field) << 3);
  append_varint(to, value);
}

void append_bytes_field(std::string& to, std::uint32_t field, std::string_view value) {
  append_varint(to, static_cast<std::uint64_t>(field) << 3 | 2);
  append_varint(to, value.size());
  to += value;
}

}  // namespace argosy::load
