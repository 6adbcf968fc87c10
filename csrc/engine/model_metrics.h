#pragma once

// model_metrics: what a page of metrics says about one model version. Counters come
// from the statistics themselves, so both always agree. What instances on a GPU did has
// its UUID as a label, and series of its own.
//
// Thread: any.

#include "metrics/page.h"

namespace argosy::engine {

class Model;

struct ModelMetricsOptions {
  bool counter_latencies = true;     // the nv_inference_*_duration_us counters
  bool histogram_latencies = false;  // nv_inference_first_response_histogram_ms
};

// Every family, so that HELP and TYPE are there before the first model.
void add_model_families(metrics::Page& page, const ModelMetricsOptions& options);
void collect_model(metrics::Page& page, Model& model, const ModelMetricsOptions& options);

}  // namespace argosy::engine
