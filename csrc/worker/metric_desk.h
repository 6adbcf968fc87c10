#pragma once

// MetricDesk: the messages of one process about its metrics, read and answered.
//
// 'n' to 8: u64 id, u8 kind, text name, text description             a family is made
// 'k' to 8: u64 id, u64 family, u32 labels, u32 bounds; label texts; to 8: f64 bounds
// 'd' u8 0 family, 1 metric; to 8: u64 id, u64 number                one is dropped
// 'v' to 8: u64 id, u64 metric                                       what it shows
// 'u' u8 operation; to 8: u64 metric, f64 value                      no answer
//
// Thread: whose turn it is to read calls.

#include <memory>

#include "worker/custom_metrics.h"
#include "worker/message.h"
#include "worker/outgoing_calls.h"

namespace argosy::worker {

class MetricDesk {
 public:
  // `instance` may be null: then every family is refused.
  MetricDesk(std::shared_ptr<InstanceMetrics> instance, std::shared_ptr<OutgoingCalls> answers);

  static bool knows(char kind) { return kind == 'n' || kind == 'k' || kind == 'd' || kind == 'v' || kind == 'u'; }
  void read(char kind, Reader& from);
  void end();  // the process is dead

 private:
  void answer(std::uint64_t id, const Result<std::uint64_t>& number);
  void make_metric(std::uint64_t id, Reader& from);

  std::unique_ptr<MetricsLife> life_;
  const std::shared_ptr<OutgoingCalls> answers_;
};

}  // namespace argosy::worker
