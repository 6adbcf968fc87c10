#pragma once

// wire: the protobuf wire format: a reader that trusts nothing and a writer.
//
// WireReader walks the fields of one message. A broken byte stream makes next()
// return false with ok() false; a field of an unexpected wire type is for the caller
// to skip(). Lengths are checked before anything is handed out, groups are skipped
// without recursion.
//
// Thread: one at a time; the bytes must outlive the views.

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace argosy::kserve {

enum class WireType : std::uint8_t { varint = 0, fixed64 = 1, bytes = 2, start_group = 3, end_group = 4, fixed32 = 5 };

class WireReader {
 public:
  explicit WireReader(std::string_view message) : p_(message.data()), end_(message.data() + message.size()) {}

  // Moves to the next field; then exactly one of the calls below must follow.
  bool next();
  bool ok() const { return ok_; }

  std::uint32_t field() const { return field_; }
  WireType type() const { return type_; }
  bool is(std::uint32_t field, WireType type) const { return field_ == field && type_ == type; }

  bool varint(std::uint64_t& value);
  bool fixed32(std::uint32_t& value) { return copy(&value, sizeof(value)); }
  bool fixed64(std::uint64_t& value) { return copy(&value, sizeof(value)); }
  bool bytes(std::string_view& value);
  bool skip();

  bool at_end() const { return p_ == end_; }
  std::size_t left() const { return static_cast<std::size_t>(end_ - p_); }  // bytes not read
  // A varint outside any field: packed elements.
  bool raw_varint(std::uint64_t& value) { return varint(value); }

 private:
  bool fail() {
    ok_ = false;
    return false;
  }
  bool copy(void* to, std::size_t size) {
    if (static_cast<std::size_t>(end_ - p_) < size) return fail();
    std::memcpy(to, p_, size);
    p_ += size;
    return true;
  }
  bool tag();
  bool skip_one();

  const char* p_;
  const char* end_;
  std::uint32_t field_ = 0;
  WireType type_ = WireType::varint;
  bool ok_ = true;
};

std::size_t varint_size(std::uint64_t value);

class WireWriter {
 public:
  explicit WireWriter(std::string& to) : to_(to) {}

  void tag(std::uint32_t field, WireType type) {
    raw_varint((std::uint64_t{field} << 3) | static_cast<unsigned>(type));
  }
  void varint(std::uint32_t field, std::uint64_t value) {
    tag(field, WireType::varint);
    raw_varint(value);
  }
  void fixed64(std::uint32_t field, double value) {
    tag(field, WireType::fixed64);
    to_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  void bytes(std::uint32_t field, std::string_view value) {
    length(field, value.size());
    to_.append(value);
  }
  // The front of a length-delimited field whose bytes follow by other means.
  void length(std::uint32_t field, std::size_t size) {
    tag(field, WireType::bytes);
    raw_varint(size);
  }
  void raw_varint(std::uint64_t value) {
    while (value >= 0x80) {
      to_.push_back(static_cast<char>(value | 0x80));
      value >>= 7;
    }
    to_.push_back(static_cast<char>(value));
  }

 private:
  std::string& to_;
};

}  // namespace argosy::kserve
