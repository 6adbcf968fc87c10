#pragma once

// json_tensor: the `data` array of one tensor to dense elements, and back.
//
// Nesting is free and flattened in row-major order; only the number of elements
// counts. Integers must be integer tokens within the type; FP16 and BF16 are numbers
// like the others.
//
// Thread: pure functions; any.

#include <cstddef>
#include <string_view>

#include "base/bytes.h"
#include "base/bytes_pool.h"
#include "base/status.h"
#include "kserve/json_reader.h"
#include "kserve/json_writer.h"
#include "tensor/tensor.h"

namespace argosy::kserve {

// Reads exactly `count` elements. After a failure the reader has failed too.
Result<Bytes> read_json_tensor(JsonReader& reader, std::string_view input, tensor::DType dtype, std::size_t count,
                               std::size_t max_bytes, BytesPool& pool);

// The elements separated by commas, without brackets. The bytes must fit the type.
Status write_json_elements(JsonWriter& writer, const tensor::Tensor& tensor);

}  // namespace argosy::kserve
