#pragma once

// proto_infer: the protobuf messages of the inference calls, read and written by hand.
//
// Raw tensor bytes are never copied: an input is a slice of the received message, an
// output a slice of what the model made. Unknown fields are skipped. Any bytes at all
// give a status: nothing is read past the end, and memory stays within a small
// multiple of the message.
//
// Thread: pure functions; any.

#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/bytes_pool.h"
#include "base/status.h"
#include "kserve/gather.h"
#include "kserve/output_plan.h"

namespace argosy::kserve {

// `request` always exists; after a failure it has the id, if that could be read,
// because a stream names it in its error.
struct ModelInferCall {
  Status status;
  std::string model_name;
  std::string model_version;
  infer::RequestPtr request;
  OutputPlan plan;
  RegionUsePtr regions;
};
// `regions`: what clients have registered; null: they may not.
ModelInferCall decode_model_infer(const Bytes& message, BytesPool& pool, const shm::Regions* regions = nullptr);

// ModelInferResponse; only for a response whose status is ok.
Result<Gather> encode_model_infer(const infer::Response& response, const OutputPlan& plan, const model::ModelSpec& spec,
                                  std::string_view id);

// ModelStreamInferResponse around the same, with `triton_final_response`.
Result<Gather> encode_stream_infer(const infer::Response& response, const OutputPlan& plan,
                                   const model::ModelSpec& spec, std::string_view id, bool final_response);

// The empty last message of a decoupled request: the names as the client gave them.
Gather encode_stream_final(std::string_view model_name, std::string_view model_version, std::string_view id);

// A refused request is told by its id alone; one that failed while it ran also by the
// model as the client named it, and is final.
Gather encode_stream_refusal(std::string_view message, std::string_view id);
Gather encode_stream_failure(std::string_view message, std::string_view model_name, std::string_view model_version,
                             std::string_view id);

}  // namespace argosy::kserve
