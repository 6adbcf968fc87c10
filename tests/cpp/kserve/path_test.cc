#include "kserve/path.h"

#include <gtest/gtest.h>

namespace argosy::kserve {
namespace {

template <class Target>
bool leads_to(std::string_view method, std::string_view path, Api api) {
  const Route route = route_http(method, path);
  return std::holds_alternative<Target>(route.target) && route.api == api;
}

TEST(Path, FindsInferenceCallsWithTheirModelAndVersion) {
  const Route plain = route_http("POST", "/v2/models/a%20b/infer?x=1");
  EXPECT_EQ(std::get<InferCall>(plain.target).model, "a%20b");
  EXPECT_EQ(std::get<InferCall>(plain.target).version, "");
  const Route versioned = route_http("POST", "/v2/models/m/versions/12/generate_stream");
  EXPECT_EQ(std::get<InferCall>(versioned.target).version, "12");
  EXPECT_EQ(std::get<InferCall>(versioned.target).verb, InferVerb::generate_stream);
  EXPECT_EQ(versioned.api, Api::inference);
}

TEST(Path, SortsEveryRouteIntoItsGroup) {
  EXPECT_TRUE(leads_to<HealthCall>("GET", "/v2/health/live", Api::health));
  EXPECT_TRUE(leads_to<HealthCall>("GET", "/v2/models/m/versions/1/ready", Api::health));
  EXPECT_TRUE(leads_to<ControlCall>("GET", "/v2", Api::metadata));
  EXPECT_TRUE(leads_to<ControlCall>("GET", "/v2/models/m", Api::metadata));
  EXPECT_TRUE(leads_to<ControlCall>("GET", "/v2/models/m/config", Api::model_config));
  EXPECT_TRUE(leads_to<ControlCall>("GET", "/v2/models/stats", Api::statistics));
  EXPECT_TRUE(leads_to<ControlCall>("GET", "/v2/models/m/versions/2/stats", Api::statistics));
  EXPECT_TRUE(leads_to<ControlCall>("POST", "/v2/repository/index", Api::model_repository));
  EXPECT_TRUE(leads_to<ControlCall>("POST", "/v2/repository/r/models/m/load", Api::model_repository));
  EXPECT_TRUE(leads_to<ControlCall>("POST", "/v2/repository/models/m/unload", Api::model_repository));
  EXPECT_TRUE(leads_to<ControlCall>("GET", "/v2/systemsharedmemory/region/r/status", Api::shared_memory));
  EXPECT_TRUE(leads_to<ControlCall>("POST", "/v2/cudasharedmemory/unregister", Api::shared_memory));
  EXPECT_TRUE(leads_to<ControlCall>("POST", "/v2/models/m/trace/setting", Api::trace));
  EXPECT_TRUE(leads_to<ControlCall>("GET", "/v2/logging", Api::logging));
}

TEST(Path, AKnownPathWithAnotherMethodIsNotAllowed) {
  EXPECT_TRUE(leads_to<MethodNotAllowed>("GET", "/v2/models/m/infer", Api::inference));
  EXPECT_TRUE(leads_to<MethodNotAllowed>("POST", "/v2/health/ready", Api::health));
  EXPECT_TRUE(leads_to<MethodNotAllowed>("PUT", "/v2/logging", Api::logging));
}

TEST(Path, EverythingElseIsNotFound) {
  for (const std::string_view path :
       {"", "/", "/v2/", "/v2/models", "/v2/models/", "/v2/models/m/", "/v2/models/m/infer/", "/v2/models//infer",
        "/v2/models/m/versions/abc/infer", "/v2/models/m/versions//infer", "/v2/models/m/versions/1/trace/setting",
        "/v2/health", "/v2/health/live/", "/v2/repository", "/v2/repository/a/b/index",
        "/v2/systemsharedmemoryx/status", "/v2/systemsharedmemory/region//status", "/v3"}) {
    EXPECT_TRUE(leads_to<NotFound>("GET", path, Api::none)) << path;
  }
}

TEST(Path, TheMetricsPortAnswersEveryPath) {
  EXPECT_TRUE(std::get<MetricsCall>(route_metrics_port("GET", "/metrics/?a").target).known);
  EXPECT_FALSE(std::get<MetricsCall>(route_metrics_port("GET", "/other").target).known);
  EXPECT_TRUE(std::holds_alternative<MethodNotAllowed>(route_metrics_port("POST", "/metrics").target));
}

TEST(Path, FindsGrpcMethods) {
  EXPECT_TRUE(std::get<InferCall>(route_grpc("/inference.GRPCInferenceService/ModelStreamInfer").target).stream);
  EXPECT_TRUE(std::get<HealthCall>(route_grpc("/grpc.health.v1.Health/Check").target).check);
  EXPECT_TRUE(std::holds_alternative<NotServedYet>(route_grpc("/grpc.health.v1.Health/Watch").target));
  EXPECT_EQ(route_grpc("/inference.GRPCInferenceService/LogSettings").api, Api::logging);
  EXPECT_TRUE(std::holds_alternative<NotFound>(route_grpc("/inference.GRPCInferenceService/Nothing").target));
}

TEST(Path, VersionsAreNumbersOrTheNewest) {
  EXPECT_EQ(*parse_version(""), -1);
  EXPECT_EQ(*parse_version("7"), 7);
  EXPECT_EQ(parse_version("x").status().message(),
            "failed to get model version from specified version string 'x' (details: stol), version should be an "
            "integral value > 0");
  EXPECT_EQ(parse_version("-2").status().message(),
            "invalid model version specified '-2' , version should be an integral value > 0");
  EXPECT_FALSE(parse_version("99999999999999999999").ok());
}

TEST(Path, GroupNamesAreTheOperators) {
  EXPECT_EQ(parse_api("model-repository"), Api::model_repository);
  EXPECT_EQ(to_string(Api::shared_memory), "shared-memory");
  EXPECT_FALSE(parse_api(""));
}

}  // namespace
}  // namespace argosy::kserve
