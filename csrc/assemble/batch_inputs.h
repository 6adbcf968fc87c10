#pragma once

// batch_inputs: the tensors that tell a model where each request's part of a batch is:
// element counts, their sums, shapes of the rows.
//
// Elements are counted over all rows of a request, as the backend sees its shape. Shapes
// are one per row, without the batch dimension.
//
// Invariant relied on: check_request() passed every request, and the model batches.
//
// Thread: pure functions; any.

#include <span>

#include "base/status.h"
#include "infer/request.h"
#include "model/spec.h"
#include "tensor/tensor.h"

namespace argosy::assemble {

// In host memory. INT32 is exact; FP32 is up to 2^24, and rounded beyond.
// invalid_argument: a number that INT32 has not.
Result<tensor::Tensor> describe(const model::ModelSpec& spec, const model::BatchInput& input,
                                std::span<const infer::RequestPtr> requests);

}  // namespace argosy::assemble
