#pragma once

// ModelCard: what a server says about one model: its tensors and whether they carry
// a batch dimension. Read from the V2 metadata (JSON or protobuf); the batch limit
// comes from Triton's configuration extension where a server has it.
//
// Thread: values; any.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace argosy::load {

struct TensorSpec {
  std::string name;
  std::string datatype;             // "FP32", "BYTES", ...
  std::vector<std::int64_t> shape;  // -1: any; with the batch dimension, as metadata has it

  friend bool operator==(const TensorSpec&, const TensorSpec&) = default;
};

struct ModelCard {
  std::string name;
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  std::optional<std::int64_t> max_batch_size;  // none: the server does not say

  // The leading dimension counts requests: the configuration says so, or it is
  // dynamic and there is no configuration to ask.
  bool batched() const;
};

Result<ModelCard> model_card_from_json(std::string_view metadata);
Result<ModelCard> model_card_from_proto(std::string_view metadata);
std::optional<std::int64_t> max_batch_size_from_json(std::string_view config);
std::optional<std::int64_t> max_batch_size_from_proto(std::string_view config_response);

}  // namespace argosy::load
