#pragma once

// Accounting: what one model version has done: exact counts and times for the
// statistics extension, and histograms.
//
// Kept in shards, one per instance and one for those answered without an instance, so
// that an instance takes a lock that nobody else wants, once a batch. A request is
// counted before its answer is handed out: who has an answer finds itself counted.
//
// success, queue and compute_* count successful requests only; queue.count equals
// success.count.
//
// Thread: any.

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/guarded.h"
#include "base/time.h"
#include "engine/statistics.h"
#include "infer/request.h"
#include "infer/response.h"
#include "metrics/instruments.h"

namespace argosy::engine {

enum class FailureReason : std::uint8_t { rejected, canceled, backend, other };
inline constexpr std::size_t kFailureReasons = 4;
std::string_view to_string(FailureReason reason);  // "REJECTED", ...: the metric's label

// One answered request, as far as accounting is concerned.
struct Answered {
  const infer::Timings& timings;
  std::uint32_t rows = 1;
  TimePoint free_since{};  // the instance that ran it came for work
};

struct Histograms {
  Histograms();
  metrics::Histogram request, queue, batch_wait, compute, first_response;  // ns, shown in seconds
  metrics::Histogram first_response_ms;                                    // ns, shown in milliseconds
  metrics::Histogram batch_rows;
};

class Accounting {
 public:
  explicit Accounting(std::size_t instances) : shards_(instances + 1), gpus_(instances + 1) {}

  // On which GPU an instance is, by UUID. Before there are requests.
  void place(std::size_t instance, std::string gpu) { gpus_[instance] = std::move(gpu); }

  // A batch in which every request was left in place: all of it under one lock.
  // `statuses_ok[i]` belongs to requests[i].
  void count_batch(std::size_t instance, std::span<const infer::RequestPtr> requests,
                   std::span<const infer::Response> answers, std::uint32_t rows, TimePoint free_since);

  // One execution of a batch whose requests are counted one by one, when they finish.
  void count_execution(std::size_t instance, std::uint32_t rows, const infer::Timings& timings);
  void count_success(std::size_t instance, const Answered& answered);
  void count_failure(std::size_t instance, const infer::Timings& timings, FailureReason reason);

  struct StreamedResponse {
    std::uint64_t index = 0;
    Nanos took{};  // since the model began, or since the response before
    bool ok = true, empty = false, cancelled = false;
  };
  void count_response(std::size_t instance, const StreamedResponse& response);

  std::size_t unassigned() const { return shards_.size() - 1; }  // the shard of no instance

  ModelStatistics statistics();
  struct Share {
    std::string gpu;  // empty: what ran on none, or did not run
    ModelStatistics sums;
    std::array<std::uint64_t, kFailureReasons> failures{};
  };
  std::vector<Share> shares();  // by UUID; together they are statistics()
  const Histograms& histograms() const { return histograms_; }

 private:
  struct Shard {
    ModelStatistics sums;
    std::array<std::uint64_t, kFailureReasons> failures{};
  };
  void add_success(Shard& shard, const Answered& answered);
  void add_execution(Shard& shard, std::uint32_t rows, const infer::Timings& timings);
  void observe(const Answered& answered);

  std::vector<Guarded<Shard>> shards_;
  std::vector<std::string> gpus_;  // per shard
  Histograms histograms_;
};

}  // namespace argosy::engine
