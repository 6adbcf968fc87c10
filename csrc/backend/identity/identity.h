#pragma once

// identity: output i is input i, the same memory. Needs no file.
//
// Parameters of the configuration, for tests and benchmarks:
//   execute_delay_ms                how long each batch takes (0)
//   instance_wise_delay_multiplier  times this instance's index + 1, if not 0 (0)
// The delay ends early when every request of the batch is cancelled.
//
// Thread: as Backend.

#include <memory>

#include "backend/backend.h"

namespace argosy::backend {

std::shared_ptr<Backend> make_identity_backend();

}  // namespace argosy::backend
