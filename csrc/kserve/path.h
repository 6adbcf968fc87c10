#pragma once

// path: which call a URL or a gRPC method names.
//
// Paths are matched raw, as sent: no percent-decoding, a trailing slash is another
// path, and the query does not count. Versions in a URL are digits. The views in a
// Route point into the path that was given.
//
// Every Route also says which group of calls it belongs to, because operators
// restrict access by group (`--http-restricted-api`).
//
// Thread: pure functions; any.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "base/status.h"

namespace argosy::kserve {

enum class Api : std::uint8_t {
  none,  // unknown paths and the metrics port
  health,
  metadata,
  model_config,
  statistics,
  inference,
  model_repository,
  shared_memory,
  trace,
  logging,
};
std::string_view to_string(Api api);  // "health", ... "model-config", as operators write them
std::optional<Api> parse_api(std::string_view name);

enum class InferVerb : std::uint8_t { infer, generate, generate_stream };

struct InferCall {
  std::string_view model;    // HTTP only: gRPC names the model inside the message
  std::string_view version;  // "": the newest
  InferVerb verb = InferVerb::infer;
  bool stream = false;  // gRPC: ModelStreamInfer
};
enum class HealthQuestion : std::uint8_t { live, ready, model_ready };
struct HealthCall {
  HealthQuestion question = HealthQuestion::live;
  std::string_view model;  // model_ready over HTTP
  std::string_view version;
  bool check = false;  // grpc.health.v1.Health/Check: answered by `ready`
};
struct MetricsCall {
  bool known = true;  // false: another path of the metrics port, answered 200 and empty
};
struct ControlCall {};  // for the control plane, which reads the path itself
struct NotServedYet {
  std::string text;  // says which feature is missing
};
struct MethodNotAllowed {};
struct NotFound {};

struct Route {
  Api api = Api::none;
  std::variant<NotFound, MethodNotAllowed, NotServedYet, InferCall, HealthCall, MetricsCall, ControlCall> target;
};

Route route_http(std::string_view method, std::string_view path);
Route route_metrics_port(std::string_view method, std::string_view path);
Route route_grpc(std::string_view path);  // "/inference.GRPCInferenceService/ModelInfer"

// "" is -1: the newest version. Errors are the protocol's:
// "failed to get model version from specified version string 'x' ...".
Result<std::int64_t> parse_version(std::string_view text);

// The HTTP status of a failure: bad requests 400, unknown
// models 404, unserved 501, busy or timed out 503, our faults 500.
int http_status(StatusCode code);

}  // namespace argosy::kserve
