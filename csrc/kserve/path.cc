#include "kserve/path.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace argosy::kserve {
namespace {

constexpr std::array<std::string_view, 10> kApis{"",           "health",    "metadata",         "model-config",
                                                 "statistics", "inference", "model-repository", "shared-memory",
                                                 "trace",      "logging"};

bool digits_only(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// Takes "/<segment>" off the front of `rest`; a segment is not empty.
std::optional<std::string_view> take_segment(std::string_view& rest) {
  if (rest.size() < 2 || rest[0] != '/') return std::nullopt;
  const std::size_t end = std::min(rest.find('/', 1), rest.size());
  if (end == 1) return std::nullopt;
  const std::string_view segment = rest.substr(1, end - 1);
  rest.remove_prefix(end);
  return segment;
}

template <class Target>
Route on_method(std::string_view got, std::string_view expected, Api api, Target target) {
  if (got != expected) return {api, MethodNotAllowed{}};
  return {api, std::move(target)};
}

Route settings(std::string_view method, Api api) {
  if (method != "GET" && method != "POST") return {api, MethodNotAllowed{}};
  return {api, ControlCall{}};
}

Route model_route(std::string_view method, std::string_view rest) {
  const auto model = take_segment(rest);
  if (!model) return {};
  std::string_view version;
  if (rest.starts_with("/versions/")) {
    rest.remove_prefix(std::string_view("/versions").size());
    const auto segment = take_segment(rest);
    if (!segment || !digits_only(*segment)) return {};
    version = *segment;
  }
  if (rest.empty()) return on_method(method, "GET", Api::metadata, ControlCall{});
  if (rest == "/infer") return on_method(method, "POST", Api::inference, InferCall{*model, version});
  if (rest == "/generate") {
    return on_method(method, "POST", Api::inference, InferCall{*model, version, InferVerb::generate});
  }
  if (rest == "/generate_stream") {
    return on_method(method, "POST", Api::inference, InferCall{*model, version, InferVerb::generate_stream});
  }
  if (rest == "/ready") {
    return on_method(method, "GET", Api::health, HealthCall{HealthQuestion::model_ready, *model, version});
  }
  if (rest == "/config") return on_method(method, "GET", Api::model_config, ControlCall{});
  if (rest == "/stats") return on_method(method, "GET", Api::statistics, ControlCall{});
  if (rest == "/trace/setting" && version.empty()) return settings(method, Api::trace);
  return {};
}

Route repository_route(std::string_view method, std::string_view rest) {
  // "/index", "/models/<m>/load|unload", each maybe behind one segment that names a repository.
  const auto matches = [](std::string_view tail) {
    if (tail == "/index") return true;
    if (!tail.starts_with("/models/")) return false;
    tail.remove_prefix(std::string_view("/models").size());
    return take_segment(tail) && (tail == "/load" || tail == "/unload");
  };
  std::string_view behind = rest;
  if (!matches(rest) && !(take_segment(behind) && matches(behind))) return {};
  return on_method(method, "POST", Api::model_repository, ControlCall{});
}

Route shared_memory_route(std::string_view method, std::string_view rest) {
  if (rest.starts_with("/region/")) {
    rest.remove_prefix(std::string_view("/region").size());
    if (!take_segment(rest)) return {};
  }
  if (rest == "/status") return on_method(method, "GET", Api::shared_memory, ControlCall{});
  if (rest == "/register" || rest == "/unregister") {
    return on_method(method, "POST", Api::shared_memory, ControlCall{});
  }
  return {};
}

struct GrpcMethod {
  std::string_view name;
  Api api;
};
constexpr std::array<GrpcMethod, 15> kControlMethods{{
    {"ServerMetadata", Api::metadata},
    {"ModelMetadata", Api::metadata},
    {"ModelConfig", Api::model_config},
    {"ModelStatistics", Api::statistics},
    {"RepositoryIndex", Api::model_repository},
    {"RepositoryModelLoad", Api::model_repository},
    {"RepositoryModelUnload", Api::model_repository},
    {"SystemSharedMemoryStatus", Api::shared_memory},
    {"SystemSharedMemoryRegister", Api::shared_memory},
    {"SystemSharedMemoryUnregister", Api::shared_memory},
    {"CudaSharedMemoryStatus", Api::shared_memory},
    {"CudaSharedMemoryRegister", Api::shared_memory},
    {"CudaSharedMemoryUnregister", Api::shared_memory},
    {"TraceSetting", Api::trace},
    {"LogSettings", Api::logging},
}};

}  // namespace

std::string_view to_string(Api api) { return kApis[static_cast<std::size_t>(api)]; }

std::optional<Api> parse_api(std::string_view name) {
  for (std::size_t i = 1; i < kApis.size(); ++i) {
    if (kApis[i] == name) return static_cast<Api>(i);
  }
  return std::nullopt;
}

Route route_http(std::string_view method, std::string_view path) {
  path = path.substr(0, path.find('?'));
  if (path == "/v2/models/stats") return on_method(method, "GET", Api::statistics, ControlCall{});
  if (path.starts_with("/v2/models/")) return model_route(method, path.substr(std::string_view("/v2/models").size()));
  if (path == "/v2/health/live") return on_method(method, "GET", Api::health, HealthCall{HealthQuestion::live});
  if (path == "/v2/health/ready") return on_method(method, "GET", Api::health, HealthCall{HealthQuestion::ready});
  if (path == "/v2") return on_method(method, "GET", Api::metadata, ControlCall{});
  if (path.starts_with("/v2/repository/")) {
    return repository_route(method, path.substr(std::string_view("/v2/repository").size()));
  }
  for (const std::string_view kind : {"/v2/systemsharedmemory", "/v2/cudasharedmemory"}) {
    if (path.starts_with(kind)) return shared_memory_route(method, path.substr(kind.size()));
  }
  if (path == "/v2/trace/setting") return settings(method, Api::trace);
  if (path == "/v2/logging") return settings(method, Api::logging);
  return {};
}

Route route_metrics_port(std::string_view method, std::string_view path) {
  path = path.substr(0, path.find('?'));
  return on_method(method, "GET", Api::none, MetricsCall{path == "/metrics" || path == "/metrics/"});
}

Route route_grpc(std::string_view path) {
  constexpr std::string_view kService = "/inference.GRPCInferenceService/";
  if (path == "/grpc.health.v1.Health/Check") {
    return {Api::health, HealthCall{.question = HealthQuestion::ready, .check = true}};
  }
  if (path == "/grpc.health.v1.Health/Watch") {
    return {Api::health, NotServedYet{"grpc.health.v1.Health/Watch is not served; call Check"}};
  }
  if (!path.starts_with(kService)) return {};
  const std::string_view name = path.substr(kService.size());
  if (name == "ModelInfer") return {Api::inference, InferCall{}};
  if (name == "ModelStreamInfer") return {Api::inference, InferCall{.stream = true}};
  if (name == "ServerLive") return {Api::health, HealthCall{HealthQuestion::live}};
  if (name == "ServerReady") return {Api::health, HealthCall{HealthQuestion::ready}};
  if (name == "ModelReady") return {Api::health, HealthCall{HealthQuestion::model_ready}};
  for (const GrpcMethod& method : kControlMethods) {
    if (method.name == name) return {method.api, ControlCall{}};
  }
  return {};
}

Result<std::int64_t> parse_version(std::string_view text) {
  if (text.empty()) return std::int64_t{-1};
  std::int64_t version = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), version);
  if (error != std::errc() || end != text.data() + text.size()) {
    return invalid_argument("failed to get model version from specified version string '" + std::string(text) +
                            "' (details: " + (error == std::errc::result_out_of_range ? "out of range" : "stol") +
                            "), version should be an integral value > 0");
  }
  if (version < 0) {
    return invalid_argument("invalid model version specified '" + std::string(text) +
                            "' , version should be an integral value > 0");
  }
  return version;
}

int http_status(StatusCode code) {
  switch (code) {
    case StatusCode::ok: return 200;
    case StatusCode::invalid_argument:
    case StatusCode::already_exists:
    case StatusCode::cancelled: return 400;
    case StatusCode::not_found: return 404;
    case StatusCode::unsupported: return 501;
    case StatusCode::unavailable:
    case StatusCode::deadline_exceeded:
    case StatusCode::resource_exhausted: return 503;
    case StatusCode::internal: return 500;
  }
  return 500;
}

}  // namespace argosy::kserve
