#pragma once

// gather: the requests of a batch to the tensors its backend runs.
//
// Fills batch.rows, inputs and wanted. One request: its tensors as they came, no copy.
// Several: each input joined along the batch dimension, one copy. A ragged input is
// joined flat, [elements], however many requests there are. An optional input nobody
// sent stays without a name. Behind the inputs stand the batch inputs.
//
// Invariant relied on: check_request() passed every request, and a policy put only
// those together whose inputs have equal shapes and are equally present.
//
// Thread: the instance's own; any pool.

#include "backend/backend.h"
#include "base/bytes_pool.h"
#include "base/status.h"
#include "model/spec.h"

namespace argosy::assemble {

// What every way of assembling begins with: batch.rows and batch.wanted.
void begin_batch(const model::ModelSpec& spec, backend::Batch& batch);

// resource_exhausted: no memory for the batch. unsupported: tensors in device memory
// cannot be joined by the host.
Status gather(const model::ModelSpec& spec, BytesPool& pool, backend::Batch& batch);

}  // namespace argosy::assemble
