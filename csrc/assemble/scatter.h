#pragma once

// scatter: the outputs of a batch to one response per request.
//
// Responses hold slices of the backend's memory, nothing is copied. A request gets the
// outputs it wanted in the order it named them, or all in the model's order, in the
// shape the configuration promises (reshape undone). An output that is shaped like an
// input may come in any shape: its elements are handed out in order, to each request as
// many as its input has.
//
// What a backend produced is not trusted: type, leading dimension or element count, and
// byte size are checked before anything is sliced.
//
// Thread: the instance's own.

#include "backend/backend.h"
#include "base/status.h"
#include "model/spec.h"

namespace argosy::assemble {

// Sets batch.answers, one per request, all ok. Each failure is `internal`, names the
// model and the output, and leaves no answers.
Status scatter(const model::ModelSpec& spec, backend::Batch& batch);

}  // namespace argosy::assemble
