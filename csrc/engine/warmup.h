#pragma once

// warm_up: runs a model's warm-up samples through one instance before it serves. Not
// part of any statistics.
//
// Thread: the instance's own.

#include "backend/backend.h"
#include "base/bytes_pool.h"
#include "base/time.h"
#include "model/spec.h"

namespace argosy::engine {

// invalid_argument: a sample does not fit the model, or a file is too short. Any other:
// "failed to run warmup sample 'S': ...".
Status warm_up(const model::ModelSpec& spec, backend::Instance& instance, BytesPool& pool, const Clock& clock);

}  // namespace argosy::engine
