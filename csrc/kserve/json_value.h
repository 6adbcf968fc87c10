#pragma once

// json_value: one response parameter as JSON.
//
// Thread: pure functions; any.

#include "infer/parameter.h"
#include "kserve/json_writer.h"

namespace argosy::kserve {

void write_json_value(JsonWriter& writer, const infer::Parameter& parameter);

}  // namespace argosy::kserve
