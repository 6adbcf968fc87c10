#pragma once

// json_parameters: the "parameters" objects of a JSON request.
//
// Thread: pure functions; any.

#include <cstdint>
#include <optional>
#include <string_view>

#include "infer/request.h"
#include "kserve/json_reader.h"
#include "kserve/shm_refs.h"

namespace argosy::kserve {

// One custom parameter: string, integer, bool or double by its JSON type.
bool read_custom_parameter(JsonReader& reader, std::string_view key, infer::Parameters& to);

// The request's own: the reserved names go where they belong, the others are custom.
bool read_request_parameters(JsonReader& reader, infer::Request& request, bool& binary_default);

// What may stand beside an input or output.
struct TensorParameters {
  std::optional<std::uint64_t> binary_data_size;
  std::uint64_t classification = 0;
  bool binary_data = false;
  RegionReference shared_memory;
};
bool read_tensor_parameters(JsonReader& reader, TensorParameters& to);

}  // namespace argosy::kserve
