#pragma once

// classification: the classification extension: an output becomes its k best values,
// as BYTES elements "<value>:<index>[:<label>]", best first; equal values in index
// order.
//
// Thread: pure functions; any.

#include <cstdint>

#include "base/status.h"
#include "model/spec.h"
#include "tensor/tensor.h"

namespace argosy::kserve {

// `spec` may be null: no labels. With `batches` the first dimension is kept. Refuses
// BOOL, FP16, BF16 and BYTES, and more than a million classes.
Result<tensor::Tensor> classify(const tensor::Tensor& output, std::uint64_t k, const model::TensorSpec* spec,
                                bool batches);

}  // namespace argosy::kserve
