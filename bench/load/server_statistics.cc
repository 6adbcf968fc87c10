#include "load/server_statistics.h"

#include <array>
#include <utility>

#include "load/json.h"
#include "load/proto_wire.h"

namespace argosy::load {
namespace {

// In the order of InferStatistics' field numbers, which start at 1.
constexpr std::array<std::pair<std::string_view, StatisticDuration ServerStatistics::*>, 8> kDurations{{
    {"success", &ServerStatistics::success},
    {"fail", &ServerStatistics::fail},
    {"queue", &ServerStatistics::queue},
    {"compute_input", &ServerStatistics::compute_input},
    {"compute_infer", &ServerStatistics::compute_infer},
    {"compute_output", &ServerStatistics::compute_output},
    {"cache_hit", &ServerStatistics::cache_hit},
    {"cache_miss", &ServerStatistics::cache_miss},
}};

std::uint64_t since(std::uint64_t after, std::uint64_t before) { return after >= before ? after - before : after; }

std::uint64_t number_of(const Json& from, std::string_view name) {
  const Json* value = from.find(name);
  return value == nullptr ? 0 : static_cast<std::uint64_t>(value->integer());
}

void add_durations(ServerStatistics& to, std::string_view infer_statistics) {
  ProtoReader all(infer_statistics);
  while (all.next()) {
    if (all.field() < 1 || all.field() > kDurations.size()) continue;
    StatisticDuration& duration = to.*kDurations[all.field() - 1].second;
    ProtoReader one(all.bytes());
    while (one.next()) {
      if (one.field() == 1) duration.count += one.varint();
      if (one.field() == 2) duration.ns += one.varint();
    }
  }
}

}  // namespace

ServerStatistics ServerStatistics::minus(const ServerStatistics& before) const {
  ServerStatistics out;
  out.inferences = since(inferences, before.inferences);
  out.executions = since(executions, before.executions);
  for (const auto& [name, member] : kDurations) {
    (out.*member).count = since((this->*member).count, (before.*member).count);
    (out.*member).ns = since((this->*member).ns, (before.*member).ns);
  }
  return out;
}

Result<ServerStatistics> statistics_from_json(std::string_view body) {
  auto json = parse_json(body);
  if (!json.ok()) return json.status();
  const Json* models = json->find("model_stats");
  if (models == nullptr) return unsupported("the statistics answer has no model_stats");
  ServerStatistics total;
  for (const Json& model : models->items) {
    total.inferences += number_of(model, "inference_count");
    total.executions += number_of(model, "execution_count");
    const Json* durations = model.find("inference_stats");
    if (durations == nullptr) continue;
    for (const auto& [name, member] : kDurations) {
      if (const Json* duration = durations->find(name)) {
        (total.*member).count += number_of(*duration, "count");
        (total.*member).ns += number_of(*duration, "ns");
      }
    }
  }
  return total;
}

Result<ServerStatistics> statistics_from_proto(std::string_view response) {
  ServerStatistics total;
  ProtoReader models(response);
  while (models.next()) {
    if (models.field() != 1) continue;
    ProtoReader model(models.bytes());
    while (model.next()) {
      if (model.field() == 4) total.inferences += model.varint();
      if (model.field() == 5) total.executions += model.varint();
      if (model.field() == 6) add_durations(total, model.bytes());
    }
  }
  if (!models.ok()) return invalid_argument("the ModelStatisticsResponse is not valid protobuf");
  return total;
}

}  // namespace argosy::load
