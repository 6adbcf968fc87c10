#pragma once

// Tensors across the border. Numeric tensors cross without a copy in both directions
// and keep their owner alive; BYTES tensors become object arrays of `bytes` and back
// (one copy). BF16 has no numpy type: it crosses as uint16 with the dtype said apart.
//
// Thread: with the interpreter lock held.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstddef>
#include <string>

#include "base/status.h"
#include "tensor/tensor.h"

namespace argosy::python {

pybind11::dtype numpy_dtype(tensor::DType dtype);  // BYTES: object

// A read-only array over the tensor's own memory. Memory that is not aligned for the
// element type is copied once, because compiled kernels read it with aligned loads; and
// so are results that a device left in pinned memory.
pybind11::array to_numpy(const tensor::Tensor& tensor);

// A tensor over the array's own memory (C-contiguous; made so if it is not).
// `as_bf16`: an array of uint16 is BF16.
Result<tensor::Tensor> from_numpy(std::string name, const pybind11::handle& value, bool as_bf16 = false);

// A numeric tensor by its description, without memory, and how many bytes it needs.
struct Sized {
  tensor::Tensor tensor;
  std::size_t bytes = 0;
};
// Raises invalid_argument, naming the output, for a type or shape that has no fixed size.
Sized sized_tensor(std::string name, const std::string& dtype, const pybind11::handle& dims);

tensor::Shape to_shape(const pybind11::handle& dims);
pybind11::tuple to_tuple(const tensor::Shape& shape);

}  // namespace argosy::python
