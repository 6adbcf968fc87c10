#include "kserve/wire.h"

#include <bit>

namespace argosy::kserve {

bool WireReader::varint(std::uint64_t& value) {
  std::uint64_t result = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (p_ == end_) return fail();
    const auto byte = static_cast<unsigned char>(*p_++);
    result |= std::uint64_t{byte & 0x7fu} << shift;
    if (byte < 0x80) {
      value = result;
      return true;
    }
  }
  return fail();
}

bool WireReader::bytes(std::string_view& value) {
  std::uint64_t size = 0;
  if (!varint(size)) return false;
  if (size > static_cast<std::uint64_t>(end_ - p_)) return fail();
  value = {p_, static_cast<std::size_t>(size)};
  p_ += size;
  return true;
}

bool WireReader::tag() {
  std::uint64_t key = 0;
  if (!varint(key)) return false;
  const std::uint64_t field = key >> 3;
  const unsigned type = key & 7;
  if (field == 0 || field > 0x1fffffff || type > 5) return fail();
  field_ = static_cast<std::uint32_t>(field);
  type_ = static_cast<WireType>(type);
  return true;
}

bool WireReader::next() {
  if (!ok_ || p_ == end_) return false;
  return tag() && (type_ == WireType::end_group ? fail() : true);
}

bool WireReader::skip_one() {
  std::uint64_t number = 0;
  std::uint32_t word = 0;
  std::string_view text;
  switch (type_) {
    case WireType::varint: return varint(number);
    case WireType::fixed64: return fixed64(number);
    case WireType::fixed32: return fixed32(word);
    case WireType::bytes: return bytes(text);
    default: return true;
  }
}

bool WireReader::skip() {
  if (type_ != WireType::start_group) return skip_one();
  // Matching of group numbers is not checked: a skipped group means nothing to us,
  // only its end does.
  std::size_t open = 1;
  while (open > 0) {
    if (p_ == end_) return fail();
    if (!tag()) return false;
    if (type_ == WireType::start_group) {
      ++open;
    } else if (type_ == WireType::end_group) {
      --open;
    } else if (!skip_one()) {
      return false;
    }
  }
  return true;
}

std::size_t varint_size(std::uint64_t value) { return (static_cast<std::size_t>(std::bit_width(value | 1)) + 6) / 7; }

}  // namespace argosy::kserve
