#include "tensor/dtype.h"

#include <array>

namespace argosy::tensor {
namespace {

struct Row {
  std::string_view name;
  std::size_t size;
};
constexpr std::array<Row, kDTypes> kRows{{
    {"BOOL", 1},
    {"UINT8", 1},
    {"UINT16", 2},
    {"UINT32", 4},
    {"UINT64", 8},
    {"INT8", 1},
    {"INT16", 2},
    {"INT32", 4},
    {"INT64", 8},
    {"FP16", 2},
    {"BF16", 2},
    {"FP32", 4},
    {"FP64", 8},
    {"BYTES", 0},
}};

}  // namespace

std::string_view to_string(DType dtype) { return kRows[static_cast<std::size_t>(dtype)].name; }

std::optional<DType> parse_dtype(std::string_view wire_name) {
  for (std::size_t i = 0; i < kRows.size(); ++i) {
    if (kRows[i].name == wire_name) return static_cast<DType>(i);
  }
  return std::nullopt;
}

std::size_t element_size(DType dtype) { return kRows[static_cast<std::size_t>(dtype)].size; }

}  // namespace argosy::tensor
