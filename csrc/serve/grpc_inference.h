#pragma once

// GrpcInference: one inference of a gRPC call, from its decoded message to its last
// answer: what must be known to write that answer, and the way to cancel it.
//
// Thread: its connection's loop, but for cancellation and its own end (any).

#include <memory>
#include <string>
#include <utility>

#include "engine/engine.h"
#include "infer/cancellation.h"
#include "kserve/proto_infer.h"
#include "serve/grpc_answer_order.h"
#include "serve/grpc_stream.h"
#include "serve/infer_call.h"

namespace argosy::serve {

class GrpcInference final : public InferCaller {
 public:
  // Takes all of `call` but its request.
  GrpcInference(std::shared_ptr<GrpcStream> stream, kserve::ModelInferCall& call, engine::ModelHandle model)
      : stream(std::move(stream)),
        model_name(std::move(call.model_name)),
        model_version(std::move(call.model_version)),
        id(call.request->id),
        plan(std::move(call.plan)),
        model(std::move(model)),
        wants_empty_final(call.request->wants_empty_final) {}

  void on_response(const net::IoToken& io, infer::Response response, bool last) override {
    stream->on_answer(io, *this, std::move(response), last);
  }

  const std::shared_ptr<GrpcStream> stream;
  const std::string model_name, model_version, id;  // as the client gave them
  const kserve::OutputPlan plan;
  const engine::ModelHandle model;
  const bool wants_empty_final;
  AnswerOrder::Ticket ticket = 0;  // ModelStreamInfer only
  infer::Cancellation cancellation;
};

}  // namespace argosy::serve
