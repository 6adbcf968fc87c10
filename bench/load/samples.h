#pragma once

// Samples: the tensors that requests carry, made from a model's metadata (random or
// zero) or read from an input file in perf_analyzer's JSON format.
//
// Every dynamic dimension must be given a size; the batch dimension is `batch`.
//
// Thread: pure functions; any.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "load/model_card.h"

namespace argosy::load {

struct Tensor {
  std::string name;
  std::string datatype;
  std::vector<std::int64_t> shape;
  std::string bytes;  // little endian; BYTES length-prefixed
};

struct Sample {
  std::vector<Tensor> inputs;
  std::optional<std::string> expected;  // the first output's bytes, where known
};

struct SampleRules {
  std::int64_t batch = 1;
  bool zero = false;
  std::uint64_t seed = 1;
  std::size_t string_length = 16;
  std::map<std::string, std::vector<std::int64_t>> shapes;  // by input name, without the batch dimension
};

Result<Sample> generate_sample(const ModelCard& card, const SampleRules& rules);

// {"data": [{"INPUT0": [..] | {"content": [..], "shape": [..]} | {"b64": ".."}}, ..],
//  "validation_data": [{"OUTPUT0": ..}, ..]}; one Sample for each entry of "data".
Result<std::vector<Sample>> samples_from_file(const ModelCard& card, const SampleRules& rules, std::string_view text);

}  // namespace argosy::load
