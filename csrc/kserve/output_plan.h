#pragma once

// OutputPlan: how the client wants each output: as JSON or binary, as it is or
// classified, in the answer or in memory of its own. The encoders read it; the engine sees only the names
// (infer::Request::wanted).
//
// Thread: a value; any.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "infer/request.h"
#include "infer/response.h"
#include "kserve/shm_refs.h"
#include "model/spec.h"

namespace argosy::kserve {

struct WantedOutput {
  std::string name;
  std::uint64_t classification = 0;  // 0: the tensor itself; k: its k best classes
  bool binary = false;               // HTTP only
  bool in_region = false;            // its bytes are the client's already; the answer has none
};

struct OutputPlan {
  std::vector<WantedOutput> outputs;  // in the client's order; empty: all of them
  bool binary_default = false;        // for outputs that are not listed
};

// A decoded request and what to do with its answer.
struct Decoded {
  infer::RequestPtr request;
  OutputPlan plan;
  RegionUsePtr regions;
};

// One output to write: its tensor after classification, and its form.
struct PlannedOutput {
  const tensor::Tensor* tensor = nullptr;
  const WantedOutput* wanted = nullptr;     // null: not listed by the client
  const model::TensorSpec* spec = nullptr;  // null: unknown to the model's configuration
};

// The outputs in the order they are written: the client's, else the configuration's;
// outputs that neither names come last, as the model made them. Refuses outputs that
// are not in host memory.
Result<std::vector<PlannedOutput>> plan_outputs(const infer::Response& response, const OutputPlan& plan,
                                                const model::ModelSpec& spec);

}  // namespace argosy::kserve
