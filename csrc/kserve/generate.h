#pragma once

// generate: the generate extension: a flat JSON object to a Request, by the model's
// input names, and each Response to one JSON object.
//
// A key that names an input becomes that tensor, shaped by the model's metadata; any
// other becomes a request parameter; the object under "parameters" is treated alike.
//
// Thread: pure functions; any.

#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/bytes_pool.h"
#include "base/status.h"
#include "kserve/json_infer.h"
#include "kserve/output_plan.h"

namespace argosy::kserve {

Result<Decoded> decode_generate(const Bytes& body, const model::ModelSpec& spec, const JsonLimits& limits,
                                BytesPool& pool);

// One JSON object, keys in alphabetical order; only for a response whose status is ok.
Result<Gather> encode_generate(const infer::Response& response, const model::ModelSpec& spec, std::string_view id,
                               BytesPool& pool);

// As one server-sent event: "data: <json>\n\n".
Gather as_event(Gather json);

// What `generate` answers when the model did not send exactly one response.
inline constexpr std::string_view kNotOneResponse =
    "generate expects model to produce exactly 1 response, use generate stream for model that generates various "
    "number of responses";

}  // namespace argosy::kserve
