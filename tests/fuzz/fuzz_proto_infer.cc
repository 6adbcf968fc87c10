// fuzz_proto_infer: ModelInferRequest and the small messages beside it. What is
// accepted must encode again, and slices must lie inside the message; what was told from
// the first bytes alone too.

#include <cstdint>
#include <cstdlib>
#include <string>

#include "kserve/proto_calls.h"
#include "kserve/proto_infer.h"
#include "kserve/proto_peek.h"

using namespace argosy;

namespace {

void peek(std::string_view message) {
  constexpr std::size_t kLarge = 4;
  for (const std::size_t have : {message.size(), message.size() / 2}) {
    const auto found = kserve::peek_model_infer(message.substr(0, have), message.size(), kLarge);
    if (!found) continue;
    if (found->model_name.empty() || found->first_large > have) std::abort();
    if (message.size() - found->first_large < kLarge) std::abort();
    for (const std::string_view text : {found->model_name, found->model_version}) {
      if (!text.empty() && (text.data() < message.data() || text.data() + text.size() > message.data() + have)) {
        std::abort();
      }
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes message = Bytes::copy_of(std::as_bytes(std::span(data, size)));
  peek(message.view());
  (void)kserve::decode_model_ready(message.view()).ok();
  if (auto question = kserve::decode_reflection(message.view()); question.ok()) {
    (void)kserve::encode_reflection_error(*question, 5, "x");
  }
  kserve::ModelInferCall call = kserve::decode_model_infer(message, default_pool());
  if (!call.request) std::abort();
  if (!call.status.ok()) return 0;
  if (call.request->bytes > size * 64 + 64) std::abort();
  infer::Response response{{}, std::move(call.request->inputs), call.request->parameters};
  auto gather = kserve::encode_stream_infer(response, call.plan, {}, call.request->id, true);
  if (gather.ok() && gather->size != gather->joined().size()) std::abort();
  return 0;
}
