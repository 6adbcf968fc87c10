#pragma once

// is_ragged: whether rows alone do not tell what is whose in a batch of a model.
//
// Thread: pure; any.

#include <algorithm>

#include "model/spec.h"

namespace argosy::model {

// It has a ragged input, an input about the batch, or an output that is cut like an input.
inline bool is_ragged(const ModelSpec& spec) {
  return !spec.batch_inputs.empty() || std::ranges::any_of(spec.inputs, &TensorSpec::ragged) ||
         std::ranges::any_of(spec.outputs, [](const TensorSpec& output) { return output.shaped_like.has_value(); });
}

}  // namespace argosy::model
