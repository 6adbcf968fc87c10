#pragma once

// Server reflection: tells tools like grpcurl which services exist, from the file
// descriptors that the server was given at start.
//
// Thread: a pure function; any.

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "serve/front_options.h"

namespace argosy::serve {

// A ServerReflectionRequest to its ServerReflectionResponse. What cannot be found is
// said inside the response; only bytes that are no message are a failure.
Result<std::string> answer_reflection(std::string_view message, const std::vector<ProtoFile>& files);

}  // namespace argosy::serve
