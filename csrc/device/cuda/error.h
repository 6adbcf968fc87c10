#pragma once

// The one place where a CUDA error becomes a Status. `call` names what was asked, in
// the words of whoever reads the log: "copy of 4096 bytes to GPU 0".
//
// Thread: any.

#include <cuda_runtime_api.h>

#include <string>

#include "base/status.h"

namespace argosy::device {

// resource_exhausted: no memory. internal: all else; an error that has spoilt the
// process's context says so, because only a restart helps.
Status cuda_status(cudaError_t error, const std::string& call);

}  // namespace argosy::device
