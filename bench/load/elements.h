#pragma once

// Elements of V2 tensors: sizes of the datatypes, and the way between a tensor's
// bytes (little endian, BYTES length-prefixed) and the JSON spelling of its elements.
//
// Thread: pure functions; any.

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"
#include "load/json.h"

namespace argosy::load {

// Bytes of one element; 0 for BYTES, whose elements have no fixed size, and for a
// name that is no V2 datatype (is_datatype tells them apart).
std::size_t element_size(std::string_view datatype);
bool is_datatype(std::string_view name);

// `count` elements in `bytes`, comma separated, without brackets.
void append_elements_as_json(std::string& to, std::string_view datatype, std::string_view bytes);

// Arbitrarily nested JSON data, flattened in row-major order.
Result<std::string> elements_from_json(std::string_view datatype, const Json& data);

Result<std::string> bytes_from_base64(std::string_view text);
std::string bytes_as_base64(std::string_view bytes);

}  // namespace argosy::load
