#pragma once

// ServerStatistics: the counters of the statistics extension that a measurement
// needs, summed over the model's versions; minus() gives what one measurement added.
//
// Thread: values; any.

#include <cstdint>
#include <string_view>

#include "base/status.h"

namespace argosy::load {

struct StatisticDuration {
  std::uint64_t count = 0;
  std::uint64_t ns = 0;

  double mean_us() const { return count == 0 ? 0 : static_cast<double>(ns) / static_cast<double>(count) / 1000.0; }
  friend bool operator==(const StatisticDuration&, const StatisticDuration&) = default;
};

struct ServerStatistics {
  std::uint64_t inferences = 0;  // rows
  std::uint64_t executions = 0;  // batches
  StatisticDuration success, fail, queue, compute_input, compute_infer, compute_output, cache_hit, cache_miss;

  double mean_batch() const {
    return executions == 0 ? 0 : static_cast<double>(inferences) / static_cast<double>(executions);
  }
  // Counters that went backwards (a reload) start again from zero.
  ServerStatistics minus(const ServerStatistics& before) const;
  friend bool operator==(const ServerStatistics&, const ServerStatistics&) = default;
};

Result<ServerStatistics> statistics_from_json(std::string_view body);
Result<ServerStatistics> statistics_from_proto(std::string_view response);

}  // namespace argosy::load
