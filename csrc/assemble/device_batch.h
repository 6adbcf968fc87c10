#pragma once

// A batch of requests in the pipeline's terms: what each input consists of, how many
// rows it runs with, and what of its outputs is real.
//
// Rows are padded up to the next size a model allows (one CUDA graph or optimisation
// profile per size); padding is zeros behind the last request and never leaves the
// device. Ragged inputs are joined flat, element behind element, and behind the inputs
// stand the batch inputs; a model with either, or with an output that is cut like an
// input, is never padded. BYTES tensors have no form a device could read, and are
// refused by name.
//
// Thread: pure functions; any.

#include <cstdint>
#include <span>
#include <vector>

#include "assemble/input_plan.h"
#include "backend/backend.h"
#include "base/status.h"
#include "model/spec.h"

namespace argosy::assemble {

struct ShapeRules {
  std::vector<std::uint32_t> allowed_rows;  // ascending; empty, or beyond the last: as they come
};

std::uint32_t padded_rows(const ShapeRules& rules, std::uint32_t rows);

// Sets batch.rows, batch.wanted, batch.run_rows (>= rows) and, with as many rows,
// batch.inputs without their data; returns what that consists of, one per input.
Result<std::vector<InputParts>> device_parts(const model::ModelSpec& spec, backend::Batch& batch,
                                             const ShapeRules& rules);

// Puts the memory, one per input, into batch.inputs.
void set_input_data(backend::Batch& batch, std::span<const device::Memory> memory);

// Cuts the rows behind batch.rows from each of batch.outputs that has batch.run_rows of them.
void drop_padding(const model::ModelSpec& spec, backend::Batch& batch);

}  // namespace argosy::assemble
