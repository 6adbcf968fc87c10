#pragma once

// driver_entry: a function of the driver, found through the runtime, so that nothing links
// to a library that machines without a GPU lack. For the little that the runtime cannot say.
//
// Thread: any.

#include <string>

#include "base/status.h"

namespace argosy::device {

// As CUDA 12.0 has it. internal: the driver has no such function; `call` begins the sentence.
Result<void*> driver_entry(const char* name, const std::string& call);

}  // namespace argosy::device
