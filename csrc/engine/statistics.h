#pragma once

// Statistics of one model version, as the statistics extension names them: counts and
// total nanoseconds, exact. `success` and `fail` are requests; `executions` batches;
// `inferences` rows.
//
// Thread: values; the engine copies them out under the model's own lock.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace argosy::engine {

struct Duration {
  std::uint64_t count = 0;
  std::uint64_t ns = 0;
};

struct BatchStatistics {
  Duration compute_input, compute_infer, compute_output;
};

struct ResponseStatistics {  // decoupled models: by response index
  Duration compute_infer, compute_output, success, fail, empty_response, cancel;
};

struct ModelStatistics {
  std::string name;
  std::int64_t version = 0;
  std::uint64_t last_inference_ms = 0;  // Unix time; 0: never
  std::uint64_t inferences = 0;
  std::uint64_t executions = 0;
  Duration success, fail, queue, compute_input, compute_infer, compute_output, cache_hit, cache_miss;
  std::map<std::uint64_t, BatchStatistics> batches;     // by rows executed
  std::map<std::string, ResponseStatistics> responses;  // by index, as text
};

}  // namespace argosy::engine
