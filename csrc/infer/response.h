#pragma once

// Response: one answer to a request: a failure, or output tensors.
//
// Outputs are slices of whatever the model produced; they keep it alive. A decoupled
// model sends several responses; its last may be empty (no outputs, ok).
//
// Thread: travels; one thread at a time.

#include <cstdint>
#include <memory>
#include <vector>

#include "base/status.h"
#include "infer/parameter.h"
#include "tensor/tensor.h"

namespace argosy::infer {

struct Response {
  Status status;
  std::vector<tensor::Tensor> outputs;
  Parameters parameters;
  // A place in the sender's window: given back when this is dropped, so a sink that
  // cannot pass a response on keeps it, and thereby slows its sender. Null: no window.
  std::shared_ptr<const void> window = nullptr;
};

}  // namespace argosy::infer
