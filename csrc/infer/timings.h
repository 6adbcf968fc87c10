#pragma once

// Timings: the moments of one request's life, each written once by the stage that
// reaches it; statistics, histograms and traces read them afterwards.
//
// Thread: travels with its request; one thread at a time.

#include "base/time.h"

namespace argosy::infer {

struct Timings {
  TimePoint received{};        // the front end began to decode it
  TimePoint queued{};          // accepted by the model's queue
  TimePoint taken{};           // left the queue in a batch
  TimePoint input_ready{};     // batch tensors assembled; the model starts
  TimePoint output_ready{};    // the model is done
  TimePoint first_response{};  // decoupled: the first one left
  TimePoint done{};            // the answer was handed to the reply
};

}  // namespace argosy::infer
