#pragma once

// DType: the data types of the V2 inference protocol, and their sizes.
//
// Wire names ("FP32", "BYTES") are the protocol's; a BYTES element has no fixed
// size (4-byte little-endian length, then that many bytes).
//
// Thread: values; any.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace argosy::tensor {

enum class DType : std::uint8_t {
  boolean,
  uint8,
  uint16,
  uint32,
  uint64,
  int8,
  int16,
  int32,
  int64,
  fp16,
  bf16,
  fp32,
  fp64,
  bytes,
};
inline constexpr std::size_t kDTypes = 14;

std::string_view to_string(DType dtype);                       // "BOOL", "UINT8", ... "BYTES"
std::optional<DType> parse_dtype(std::string_view wire_name);  // exact wire names only
std::size_t element_size(DType dtype);                         // bytes; 0 for BYTES

}  // namespace argosy::tensor
