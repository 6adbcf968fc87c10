#pragma once

// How a model's process is started: which interpreter, with what environment, and what
// it is told first. Pure but for looking whether files exist.
//
// Thread: any.

#include <string>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "base/status.h"
#include "model/spec.h"
#include "worker/process.h"
#include "worker/worker_backend.h"

namespace argosy::worker {

// invalid_argument: the interpreter that the model names is not there;
// unsupported: a form of environment that is not served.
Result<Launch> launch_of(const model::ModelSpec& spec, const backend::InstanceSlot& slot, const WorkerOptions& options);

std::vector<std::pair<std::string, std::string>> initialize_of(const model::ModelSpec& spec,
                                                               const backend::InstanceSlot& slot);

// A number of seconds, more than 0, in a model parameter; `otherwise` when it is not set.
Result<Nanos> seconds_of(const model::ModelSpec& spec, const std::string& parameter, Nanos otherwise);

}  // namespace argosy::worker
