// fuzz_json_infer: POST .../infer bodies. The first byte chooses how much of the rest
// is the JSON head (255: all of it, no header). What is accepted must encode again.

#include <cstdint>
#include <cstdlib>
#include <string>

#include "kserve/json_infer.h"

using namespace argosy;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t rest = size - 1;
  const std::size_t head = data[0] == 255 ? rest : rest * data[0] / 255;
  const std::string header = std::to_string(head);
  const Bytes body = Bytes::copy_of(std::as_bytes(std::span(data + 1, rest)));
  const kserve::JsonLimits limits{.max_input_bytes = std::size_t{1} << 20};
  auto decoded = kserve::decode_http_infer(
      body, data[0] == 255 ? std::nullopt : std::optional<std::string_view>(header), "m", limits, default_pool());
  if (!decoded.ok()) {
    if (decoded.status().message().empty()) std::abort();
    return 0;
  }
  if (decoded->request->raw_input) return 0;
  // Binary payloads are not checked against their shape here, so only JSON inputs go back.
  infer::Response response;
  for (auto& input : decoded->request->inputs) {
    const auto count = input.shape.element_count();
    const std::size_t element = tensor::element_size(input.dtype);
    if (element == 0 || (count && static_cast<std::size_t>(*count) == input.data.size() / element))
      response.outputs.push_back(std::move(input));
  }
  response.parameters = decoded->request->parameters;
  auto answer = kserve::encode_http_infer(response, decoded->plan, {}, decoded->request->id, default_pool());
  if (answer.ok() && answer->header_length.value_or(0) > answer->body.joined().size()) std::abort();
  return 0;
}
