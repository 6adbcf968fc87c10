#include "tensor/shape.h"

namespace argosy::tensor {

Shape Shape::with_first(std::int64_t dim) const {
  Shape out;
  out.push_back(dim);
  for (const std::int64_t d : *this) out.push_back(d);
  return out;
}

std::optional<std::int64_t> Shape::element_count() const {
  // A zero anywhere makes the product zero, but a product that overflows before it
  // is reached is still refused: no reader may then rely on the order of dimensions.
  std::int64_t count = 1;
  bool zero = false;
  for (const std::int64_t dim : *this) {
    if (dim < 0) return std::nullopt;
    if (dim == 0) {
      zero = true;
    } else if (__builtin_mul_overflow(count, dim, &count)) {
      return std::nullopt;
    }
  }
  return zero ? 0 : count;
}

std::string to_string(const Shape& shape) {
  std::string out = "[";
  for (std::size_t i = 0; i < shape.rank(); ++i) {
    if (i > 0) out += ',';
    out += std::to_string(shape[i]);
  }
  return out + "]";
}

}  // namespace argosy::tensor
