#pragma once

// fit_outputs: what a Python model returned, made what its configuration promises: the
// outputs that were asked for, in the order of the request (else of the configuration),
// of the configured type and shape.
//
// Nothing a model returns is trusted; a difference becomes the answer's failure, which
// names the output, what came and what was expected. A decoupled model may leave
// outputs out of a response; any other may not. Outputs that the configuration does not
// know, or nobody asked for, are dropped.
//
// Thread: any.

#include "infer/request.h"
#include "infer/response.h"
#include "model/spec.h"

namespace argosy::worker {

void fit_outputs(const model::ModelSpec& spec, const infer::Request& request, infer::Response& response);

}  // namespace argosy::worker
