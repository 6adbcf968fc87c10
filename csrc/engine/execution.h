#pragma once

// execute: one batch through one instance: gather, run, scatter. Shared by instance
// threads and warm-up; it neither counts nor answers.
//
// A gathered batch that fails, and perhaps for what one request holds, is run again in
// halves, so that in the end only the requests fail that fail alone.
//
// Nothing thrown inside comes out: it becomes the batch's failure.
//
// Thread: the instance's own.

#include "backend/backend.h"
#include "base/bytes_pool.h"
#include "base/time.h"
#include "model/spec.h"

namespace argosy::engine {

struct Executed {
  TimePoint input_ready;
  TimePoint output_ready;
};

// Afterwards batch.answers has one entry per request; that of a request the instance
// moved out means nothing.
Executed execute(const model::ModelSpec& spec, backend::Instance& instance, BytesPool& pool, const Clock& clock,
                 backend::Batch& batch);

}  // namespace argosy::engine
