#pragma once

// Rows: tensors joined and split along their first dimension, in host memory. Dense
// types are counted in bytes, BYTES by walking their elements.
//
// Joining copies each byte once, splitting copies none: the parts are slices of the
// whole and keep it alive.
//
// Thread: pure functions; any.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/bytes_pool.h"
#include "base/status.h"
#include "tensor/tensor.h"

namespace argosy::tensor {

// How many bytes a tensor of this type and shape has; BYTES, a negative dimension or a
// number beyond std::ptrdiff_t: nothing.
std::optional<std::size_t> byte_size(DType dtype, const Shape& shape);

// The bytes of all parts, one after another. Every part is readable from the host.
// resource_exhausted: the pool has no memory of that size.
Result<device::Memory> join(std::span<const device::Memory> parts, BytesPool& pool);

// Where each part of `whole` begins when part i has rows[i] of its rows, and where the
// last ends: rows.size() + 1 byte offsets. `whole` has as many bytes (BYTES: well
// formed elements) as its shape says, and as many rows as `rows` together.
std::vector<std::size_t> part_offsets(const Tensor& whole, std::span<const std::uint32_t> rows);

// The same where part i has counts[i] elements, whatever their shape.
std::vector<std::size_t> element_offsets(const Tensor& whole, std::span<const std::size_t> counts);

// One tensor per entry of `rows`, under the conditions of part_offsets().
std::vector<Tensor> split(const Tensor& whole, std::span<const std::uint32_t> rows);

}  // namespace argosy::tensor
