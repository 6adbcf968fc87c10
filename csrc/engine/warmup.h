#pragma once

// warm_up: runs a model's warm-up samples through one instance before it serves, in
// whatever way its batches are run. Not part of any statistics.
//
// Thread: the instance's own.

#include <functional>

#include "backend/backend.h"
#include "model/spec.h"

namespace argosy::engine {

// invalid_argument: a sample does not fit the model, or a file is too short. Any other:
// "failed to run warmup sample 'S': ...".
// `run` leaves one answer per request in the batch, but for those it has moved out.
using RunBatch = std::function<void(backend::Batch&)>;
Status warm_up(const model::ModelSpec& spec, const RunBatch& run);

}  // namespace argosy::engine
