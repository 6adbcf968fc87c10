#pragma once

// BYTES tensors: each element is a 4-byte little-endian length and that many bytes,
// elements one after another in row-major order.
//
// Thread: pure functions; any.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace argosy::tensor {

// What stands at the front of `bytes`; `used` 0 means the length or the element is cut off.
struct Element {
  std::string_view value;
  std::size_t used = 0;
};
Element first_element(std::span<const std::byte> bytes);

enum class StringsFault { none, cut_off_length, cut_off_element, too_many, too_few };
struct StringsCheck {
  StringsFault fault = StringsFault::none;
  std::size_t elements = 0;   // found before the fault
  std::size_t remaining = 0;  // bytes left at the fault
};
// Does `bytes` hold exactly `count` elements and nothing else?
StringsCheck check_strings(std::span<const std::byte> bytes, std::size_t count);

// The byte offset at which each row of `per_row` elements begins, and the total at
// the end: rows + 1 offsets. Only for bytes that check_strings() found whole.
std::vector<std::size_t> row_offsets(std::span<const std::byte> bytes, std::size_t rows, std::size_t per_row);

void append_element(std::string& to, std::string_view value);

}  // namespace argosy::tensor
