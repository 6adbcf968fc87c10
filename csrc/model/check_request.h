#pragma once

// check_request: does this request fit this model? All of the protocol's texts about
// a wrong request live here.
//
// What passes is ready for a queue: inputs stand in the model's order, one per model
// input (an optional one that was not sent has no name), reshaped to what the backend
// sees, each with exactly the bytes its shape says; `rows` is the batch size, 0 for an
// empty batch. A raw input has been given name, type and shape. Elements themselves
// are not looked at, but that BYTES are well formed; memory on a device is not read.
//
// Thread: pure but for `request`; any.

#include "base/status.h"
#include "infer/request.h"
#include "model/spec.h"

namespace argosy::model {

// invalid_argument, and `request` is unspecified; its reply is untouched.
Status check_request(const ModelSpec& spec, infer::Request& request);

}  // namespace argosy::model
