#pragma once

// Tensor: name, type, shape and the memory that holds the elements: dense,
// row-major, little-endian. BYTES tensors hold length-prefixed elements.
//
// Thread: a value; any. The elements are immutable.

#include <string>

#include "device/memory.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace argosy::tensor {

struct Tensor {
  std::string name;
  DType dtype = DType::fp32;
  Shape shape;
  device::Memory data;
};

}  // namespace argosy::tensor
