#include "engine/model_metrics.h"

#include <array>
#include <chrono>

#include "engine/model.h"

namespace argosy::engine {
namespace {

using metrics::Family;
using metrics::Kind;

const Family kSuccess{"nv_inference_request_success", Kind::counter,
                      "Number of successful inference requests, all batch sizes"};
const Family kFailure{"nv_inference_request_failure", Kind::counter,
                      "Number of failed inference requests by reason: REJECTED (queue full, timeout, over a bound), "
                      "CANCELED, BACKEND (the model failed), OTHER (the request did not fit the model)"};
const Family kInferences{"nv_inference_count", Kind::counter,
                         "Number of inferences performed: batch rows of successful requests"};
const Family kExecutions{"nv_inference_exec_count", Kind::counter, "Number of batches executed"};
const Family kPending{"nv_inference_pending_request_count", Kind::gauge,
                      "Number of requests in the queue of this model, awaiting execution"};
const Family kLoadSeconds{"nv_model_load_duration_secs", Kind::gauge,
                          "Time from the start of the last load of this version until it was ready, in seconds"};

struct DurationFamily {
  Family family;
  Duration ModelStatistics::*part;
};
const std::array<DurationFamily, 5> kDurations{{
    {{"nv_inference_request_duration_us", Kind::counter,
      "Cumulative time of successful requests from arrival to answer, in microseconds"},
     &ModelStatistics::success},
    {{"nv_inference_queue_duration_us", Kind::counter,
      "Cumulative time successful requests waited in the queue, in microseconds"},
     &ModelStatistics::queue},
    {{"nv_inference_compute_input_duration_us", Kind::counter,
      "Cumulative time of preparing batches for the model, summed over successful requests, in microseconds"},
     &ModelStatistics::compute_input},
    {{"nv_inference_compute_infer_duration_us", Kind::counter,
      "Cumulative time the model ran, summed over successful requests, in microseconds"},
     &ModelStatistics::compute_infer},
    {{"nv_inference_compute_output_duration_us", Kind::counter,
      "Cumulative time of taking results apart, summed over successful requests, in microseconds"},
     &ModelStatistics::compute_output},
}};

struct HistogramFamily {
  Family family;
  metrics::Histogram Histograms::*histogram;
};
const std::array<HistogramFamily, 6> kHistograms{{
    {{"argosy_request_duration_seconds", Kind::histogram,
      "Successful requests: time from arrival until the last answer left the model"},
     &Histograms::request},
    {{"argosy_queue_duration_seconds", Kind::histogram,
      "Successful requests: time from being queued until an instance took them"},
     &Histograms::queue},
    {{"argosy_batch_wait_seconds", Kind::histogram,
      "Successful requests: the part of the queue time in which the instance that ran them was already free, "
      "that is, waiting for a batch to fill or for the instance to wake"},
     &Histograms::batch_wait},
    {{"argosy_compute_duration_seconds", Kind::histogram,
      "Successful requests: time from being taken by an instance until the answer was ready"},
     &Histograms::compute},
    {{"argosy_batch_rows", Kind::histogram, "Executed batches: rows of the batch"}, &Histograms::batch_rows},
    {{"argosy_first_response_seconds", Kind::histogram,
      "Successful requests: time from arrival until the first response left the model"},
     &Histograms::first_response},
}};
const HistogramFamily kFirstResponseMs{{"nv_inference_first_response_histogram_ms", Kind::histogram,
                                        "Duration from request to first response in milliseconds"},
                                       &Histograms::first_response_ms};

const Family kQueued{"argosy_requests_queued", Kind::gauge, "Requests waiting in the queue of this model now"};
const Family kRunning{"argosy_requests_running", Kind::gauge,
                      "Requests that left the queue of this model and are not answered yet"};
const Family kOldest{"argosy_oldest_queued_age_seconds", Kind::gauge,
                     "Age of the request that has waited longest in the queue of this model; 0 when it is empty"};

// Requests that did not reach an instance have no GPU.
void add_counters(metrics::Page& page, const metrics::Labels& labels, const Accounting::Share& share,
                  const ModelMetricsOptions& options) {
  page.add(kSuccess, labels, share.sums.success.count);
  for (std::size_t i = 0; i < share.failures.size(); ++i) {
    auto with_reason = labels;
    with_reason.emplace_back("reason", to_string(static_cast<FailureReason>(i)));
    page.add(kFailure, std::move(with_reason), share.failures[i]);
  }
  page.add(kInferences, labels, share.sums.inferences);
  page.add(kExecutions, labels, share.sums.executions);
  if (!options.counter_latencies) return;
  for (const auto& [family, part] : kDurations) page.add(family, labels, (share.sums.*part).ns / 1000);
}

}  // namespace

void add_model_families(metrics::Page& page, const ModelMetricsOptions& options) {
  for (const Family* family :
       {&kSuccess, &kFailure, &kInferences, &kExecutions, &kPending, &kLoadSeconds, &kQueued, &kRunning, &kOldest}) {
    page.family(*family);
  }
  if (options.counter_latencies) {
    for (const auto& duration : kDurations) page.family(duration.family);
  }
  for (const auto& histogram : kHistograms) page.family(histogram.family);
  if (options.histogram_latencies) page.family(kFirstResponseMs.family);
}

void collect_model(metrics::Page& page, Model& model, const ModelMetricsOptions& options) {
  Lane& lane = model.lane();
  const model::ModelSpec& spec = lane.spec();
  metrics::Labels labels{{"model", spec.name}, {"version", std::to_string(spec.version)}};
  for (const auto& [key, value] : spec.metric_tags) labels.emplace_back("_" + key, value);

  for (const auto& share : lane.accounting().shares()) {
    auto on_gpu = labels;
    if (!share.gpu.empty()) on_gpu.emplace_back("gpu_uuid", share.gpu);
    add_counters(page, on_gpu, share, options);
  }

  const auto waiting = lane.waiting();
  // Read after the queue: a request that leaves it in between is still inside.
  const std::size_t inside = lane.gate().inside();
  page.add(kPending, labels, std::uint64_t{waiting.requests});
  page.add(kQueued, labels, std::uint64_t{waiting.requests});
  page.add(kRunning, labels, std::uint64_t{inside > waiting.requests ? inside - waiting.requests : 0});
  const TimePoint now = lane.clock().now();
  const double age =
      waiting.requests > 0 && waiting.oldest < now ? std::chrono::duration<double>(now - waiting.oldest).count() : 0.0;
  page.add(kOldest, labels, age);
  page.add(kLoadSeconds, labels, std::chrono::duration<double>(model.load_time).count());

  const Histograms& histograms = lane.accounting().histograms();
  for (const auto& [family, histogram] : kHistograms) page.add(family, labels, (histograms.*histogram).read());
  if (options.histogram_latencies) {
    page.add(kFirstResponseMs.family, labels, (histograms.*kFirstResponseMs.histogram).read());
  }
}

}  // namespace argosy::engine
