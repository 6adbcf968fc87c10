#pragma once

// json_infer: the body of POST .../infer to a Request and back.
//
// A body is JSON, then the binary payloads of those inputs that announce
// `binary_data_size`; with a header length of 0 it is one raw tensor. Binary inputs
// are slices of the body; numbers in JSON go straight into one pooled buffer of the
// tensor's own type. Bad bodies are invalid_argument and name the place and what was
// expected there.
//
// What it does not do: know the model. Names, types and shapes are checked against
// the model by the engine; only the raw form and the error texts want its name.
//
// Thread: pure functions; any.

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/bytes_pool.h"
#include "base/status.h"
#include "kserve/gather.h"
#include "kserve/output_plan.h"

namespace argosy::kserve {

struct JsonLimits {
  std::size_t max_input_bytes = std::size_t{64} << 20;  // --http-max-input-size
};

// `header_length` is the text of Inference-Header-Content-Length, if it was sent.
// `body` is decompressed. `regions`: what clients have registered; null: they may not.
Result<Decoded> decode_http_infer(const Bytes& body, std::optional<std::string_view> header_length,
                                  std::string_view model_name, const JsonLimits& limits, BytesPool& pool,
                                  const shm::Regions* regions = nullptr);

struct HttpAnswer {
  Gather body;
  std::string_view content_type;             // "application/json" or "application/octet-stream"
  std::optional<std::size_t> header_length;  // Inference-Header-Content-Length; nothing: do not send it
};

// Only for a response whose status is ok. `id` may be empty.
Result<HttpAnswer> encode_http_infer(const infer::Response& response, const OutputPlan& plan,
                                     const model::ModelSpec& spec, std::string_view id, BytesPool& pool);

// {"error":"<message>"}
std::string encode_error(std::string_view message);

}  // namespace argosy::kserve
