#include "serve/grpc_method.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "kserve/path.h"

namespace argosy::serve {
namespace {

template <class... F>
struct Overload : F... {
  using F::operator()...;
};
template <class... F>
Overload(F...) -> Overload<F...>;

bool is_reflection(std::string_view path) {
  return path == "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo" ||
         path == "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
}

GrpcService health_service(const kserve::HealthCall& call) {
  if (call.check) return GrpcService::health_check;
  switch (call.question) {
    case kserve::HealthQuestion::live: return GrpcService::server_live;
    case kserve::HealthQuestion::ready: return GrpcService::server_ready;
    case kserve::HealthQuestion::model_ready: return GrpcService::model_ready;
  }
  return GrpcService::refused;
}

}  // namespace

GrpcMethod classify_method(std::string_view path, const FrontOptions& options) {
  GrpcMethod method;
  method.path = path;
  if (options.grpc_settings.reflection && is_reflection(path)) {
    method.service = GrpcService::reflection;
    return method;
  }
  const kserve::Route route = kserve::route_grpc(method.path);
  const auto unknown = [&] { method.refusal = unsupported("unknown method '" + method.path + "'"); };
  std::visit(Overload{
                 [&](const kserve::InferCall& call) {
                   method.service = call.stream ? GrpcService::model_stream_infer : GrpcService::model_infer;
                 },
                 [&](const kserve::HealthCall& call) { method.service = health_service(call); },
                 [&](const kserve::ControlCall&) { method.service = GrpcService::control; },
                 [&](const kserve::NotServedYet& refused) { method.refusal = unsupported(refused.text); },
                 [&](const auto&) { unknown(); },
             },
             route.target);

  const std::string_view category = kserve::to_string(route.api);
  for (const RestrictedApi& rule : options.grpc_restricted) {
    if (route.api == kserve::Api::none || rule.category != category) continue;
    method.guard_name = "triton-grpc-protocol-" + rule.key;
    method.guard_value = rule.value;
    method.guard_text = "This protocol is restricted, expecting header '" + method.guard_name + "'";
  }
  return method;
}

const GrpcMethod& GrpcMethods::find(std::string_view path) {
  const auto at = std::find_if(known_.begin(), known_.end(), [&](const auto& known) { return known->path == path; });
  if (at != known_.end()) {
    if (at != known_.begin()) std::iter_swap(known_.begin(), at);
    return *known_.front();
  }
  GrpcMethod method = classify_method(path, options_);
  if (method.service == GrpcService::refused) {  // anybody can make these up: not kept
    refused_ = std::move(method);
    return refused_;
  }
  known_.insert(known_.begin(), std::make_unique<const GrpcMethod>(std::move(method)));
  return *known_.front();
}

}  // namespace argosy::serve
