#include "engine/accounting.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <string>

namespace argosy::engine {
namespace {

std::uint64_t ns_between(TimePoint from, TimePoint to) {
  return to > from ? static_cast<std::uint64_t>((to - from).count()) : 0;
}

void add(Duration& duration, std::uint64_t ns) {
  ++duration.count;
  duration.ns += ns;
}

void add(Duration& to, const Duration& from) {
  to.count += from.count;
  to.ns += from.ns;
}

void add(ModelStatistics& all, const ModelStatistics& one) {
  all.last_inference_ms = std::max(all.last_inference_ms, one.last_inference_ms);
  all.inferences += one.inferences;
  all.executions += one.executions;
  for (const auto part :
       {&ModelStatistics::success, &ModelStatistics::fail, &ModelStatistics::queue, &ModelStatistics::compute_input,
        &ModelStatistics::compute_infer, &ModelStatistics::compute_output}) {
    add(all.*part, one.*part);
  }
  for (const auto& [rows, batch] : one.batches) {
    BatchStatistics& sum = all.batches[rows];
    add(sum.compute_input, batch.compute_input);
    add(sum.compute_infer, batch.compute_infer);
    add(sum.compute_output, batch.compute_output);
  }
  for (const auto& [index, response] : one.responses) {
    ResponseStatistics& sum = all.responses[index];
    for (const auto part :
         {&ResponseStatistics::compute_infer, &ResponseStatistics::compute_output, &ResponseStatistics::success,
          &ResponseStatistics::fail, &ResponseStatistics::empty_response, &ResponseStatistics::cancel}) {
      add(sum.*part, response.*part);
    }
  }
}

std::uint64_t unix_ms() {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
          .count());
}

// 50 us to 30 s.
std::vector<std::uint64_t> time_bounds() {
  std::vector<std::uint64_t> bounds;
  for (const std::uint64_t us : {50u, 100u, 250u, 500u, 1'000u, 2'500u, 5'000u, 10'000u, 25'000u, 50'000u, 100'000u,
                                 250'000u, 500'000u, 1'000'000u, 2'500'000u, 5'000'000u, 10'000'000u, 30'000'000u}) {
    bounds.push_back(us * 1000);
  }
  return bounds;
}

}  // namespace

std::string_view to_string(FailureReason reason) {
  constexpr std::array<std::string_view, kFailureReasons> kNames{"REJECTED", "CANCELED", "BACKEND", "OTHER"};
  return kNames[static_cast<std::size_t>(reason)];
}

Histograms::Histograms()
    : request(time_bounds(), 1e-9),
      queue(time_bounds(), 1e-9),
      batch_wait(time_bounds(), 1e-9),
      compute(time_bounds(), 1e-9),
      first_response(time_bounds(), 1e-9),
      first_response_ms({100'000'000, 500'000'000, 2'000'000'000, 5'000'000'000}, 1e-6),
      batch_rows({1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024}, 1) {}

void Accounting::count_batch(std::size_t instance, std::span<const infer::RequestPtr> requests,
                             std::span<const infer::Response> answers, std::uint32_t rows, TimePoint free_since) {
  {
    auto shard = shards_[instance].lock();
    add_execution(*shard, rows, requests.front()->timings);
    for (std::size_t i = 0; i < requests.size(); ++i) {
      const infer::Request& request = *requests[i];
      if (answers[i].status.ok()) {
        add_success(*shard, {request.timings, request.rows, free_since});
      } else {
        const auto reason =
            answers[i].status.code() == StatusCode::cancelled ? FailureReason::canceled : FailureReason::backend;
        ++shard->failures[static_cast<std::size_t>(reason)];
        add(shard->sums.fail, ns_between(request.timings.received, request.timings.done));
      }
    }
  }
  histograms_.batch_rows.observe(rows);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    if (answers[i].status.ok()) observe({requests[i]->timings, requests[i]->rows, free_since});
  }
}

void Accounting::count_execution(std::size_t instance, std::uint32_t rows, const infer::Timings& timings) {
  {
    auto shard = shards_[instance].lock();
    add_execution(*shard, rows, timings);
  }
  histograms_.batch_rows.observe(rows);
}

void Accounting::count_success(std::size_t instance, const Answered& answered) {
  {
    auto shard = shards_[instance].lock();
    add_success(*shard, answered);
  }
  observe(answered);
}

void Accounting::count_failure(std::size_t instance, const infer::Timings& timings, FailureReason reason) {
  auto shard = shards_[instance].lock();
  ++shard->failures[static_cast<std::size_t>(reason)];
  add(shard->sums.fail, ns_between(timings.received, timings.done));
}

void Accounting::count_response(std::size_t instance, const StreamedResponse& response) {
  const auto ns = static_cast<std::uint64_t>(std::max<Nanos::rep>(0, response.took.count()));
  auto shard = shards_[instance].lock();
  ResponseStatistics& sums = shard->sums.responses[std::to_string(response.index)];
  add(sums.compute_infer, ns);
  add(sums.compute_output, 0);
  if (response.cancelled) {
    add(sums.cancel, ns);
  } else if (!response.ok) {
    add(sums.fail, ns);
  } else if (response.empty) {
    add(sums.empty_response, ns);
  } else {
    add(sums.success, ns);
  }
}

void Accounting::add_success(Shard& shard, const Answered& answered) {
  const auto& t = answered.timings;
  ModelStatistics& sums = shard.sums;
  sums.inferences += std::max(1u, answered.rows);  // an empty batch counts as one row
  add(sums.success, ns_between(t.received, t.done));
  add(sums.queue, ns_between(t.queued, t.taken));
  add(sums.compute_input, ns_between(t.taken, t.input_ready));
  add(sums.compute_infer, ns_between(t.input_ready, t.output_ready));
  add(sums.compute_output, ns_between(t.output_ready, t.done));
}

void Accounting::add_execution(Shard& shard, std::uint32_t rows, const infer::Timings& t) {
  ModelStatistics& sums = shard.sums;
  ++sums.executions;
  sums.last_inference_ms = unix_ms();
  BatchStatistics& batch = sums.batches[std::max(1u, rows)];
  add(batch.compute_input, ns_between(t.taken, t.input_ready));
  add(batch.compute_infer, ns_between(t.input_ready, t.output_ready));
  add(batch.compute_output, ns_between(t.output_ready, t.done));
}

void Accounting::observe(const Answered& answered) {
  const auto& t = answered.timings;
  histograms_.request.observe(ns_between(t.received, t.done));
  histograms_.queue.observe(ns_between(t.queued, t.taken));
  histograms_.batch_wait.observe(ns_between(std::max(t.queued, answered.free_since), t.taken));
  histograms_.compute.observe(ns_between(t.taken, t.done));
  const TimePoint first = t.first_response == TimePoint{} ? t.done : t.first_response;
  histograms_.first_response.observe(ns_between(t.received, first));
  histograms_.first_response_ms.observe(ns_between(t.received, first));
}

ModelStatistics Accounting::statistics() {
  ModelStatistics all;
  for (auto& guarded : shards_) add(all, guarded.lock()->sums);
  return all;
}

std::vector<Accounting::Share> Accounting::shares() {
  std::map<std::string, Share> by_gpu{{"", {}}};
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    Share& share = by_gpu[gpus_[i]];
    auto shard = shards_[i].lock();
    add(share.sums, shard->sums);
    for (std::size_t reason = 0; reason < kFailureReasons; ++reason) share.failures[reason] += shard->failures[reason];
  }
  std::vector<Share> all;
  for (auto& [gpu, share] : by_gpu) {
    share.gpu = gpu;
    all.push_back(std::move(share));
  }
  return all;
}

}  // namespace argosy::engine
