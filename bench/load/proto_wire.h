#pragma once

// The protobuf wire format, as far as the inference service needs it: ProtoReader
// walks the fields of one message, the append functions write fields.
//
// A reader never leaves its message: a length past the end ends the walk with
// ok() false. Unknown fields are the caller's to skip (it just does not look).
//
// Thread: values; any.

#include <cstdint>
#include <string>
#include <string_view>

namespace argosy::load {

class ProtoReader {
 public:
  explicit ProtoReader(std::string_view message) : rest_(message) {}

  // Moves to the next field; false at the end or on a malformed message.
  bool next();
  bool ok() const { return ok_; }

  std::uint32_t field() const { return field_; }
  std::uint64_t varint() const { return number_; }   // wire types 0, 1 and 5
  std::string_view bytes() const { return bytes_; }  // wire type 2
  bool is_bytes() const { return wire_type_ == 2; }

 private:
  bool read_varint(std::uint64_t& to);
  bool read_fixed(std::size_t size);

  std::string_view rest_;
  std::string_view bytes_;
  std::uint64_t number_ = 0;
  std::uint32_t field_ = 0;
  std::uint32_t wire_type_ = 0;
  bool ok_ = true;
};

void append_varint(std::string& to, std::uint64_t value);
void append_uint_field(std::string& to, std::uint32_t field, std::uint64_t value);
void append_bytes_field(std::string& to, std::uint32_t field, std::string_view value);

}  // namespace argosy::load
