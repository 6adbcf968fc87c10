#include "load/report.h"

#include <algorithm>
#include <cstdio>

#include "load/json.h"

namespace argosy::load {
namespace {

// Fields in the order they are added; a nested object is another Fields.
class Fields {
 public:
  void add(std::string_view name, std::string_view value) {
    key(name);
    append_json_string(text_, value);
  }
  void add(std::string_view name, const char* value) { add(name, std::string_view(value)); }
  void add(std::string_view name, bool value) { raw(name, value ? "true" : "false"); }
  void add(std::string_view name, std::uint64_t value) { raw(name, std::to_string(value)); }
  void add(std::string_view name, double value) {
    char digits[40];
    std::snprintf(digits, sizeof digits, "%.6g", value);
    raw(name, value > 1e5 ? std::to_string(static_cast<std::uint64_t>(value + 0.5)) : digits);
  }
  void add(std::string_view name, const Fields& nested) { raw(name, nested.text()); }
  std::string text() const { return text_ + "}"; }

 private:
  void key(std::string_view name) {
    if (text_.size() > 1) text_ += ',';
    append_json_string(text_, name);
    text_ += ':';
  }
  void raw(std::string_view name, std::string_view json) {
    key(name);
    text_ += json;
  }
  std::string text_ = "{";
};

double micros(std::uint64_t ns) { return static_cast<double>(ns) / 1000.0; }

double median_of(const std::vector<WindowFigures>& windows, double WindowFigures::*figure) {
  std::vector<double> values;
  for (const auto& window : windows) values.push_back(window.*figure);
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

Fields parameters_of(const Options& options, const Measured& m) {
  Fields f;
  f.add("model", options.target.model);
  f.add("url", options.target.authority);
  f.add("protocol", options.format == Format::grpc ? "grpc" : "http");
  f.add("format", to_string(options.format));
  f.add("loop", m.load.rate > 0 ? "open" : "closed");
  if (m.load.rate > 0) {
    f.add("request_rate", m.load.rate);
    f.add("arrivals", options.poisson ? "poisson" : "constant");
  } else {
    f.add("concurrency", std::uint64_t{m.load.concurrency});
  }
  f.add("connections", std::uint64_t{m.connections});
  f.add("streams", std::uint64_t{m.streams});
  f.add("threads", std::uint64_t{options.rules.threads});
  f.add("batch", static_cast<std::uint64_t>(options.samples.batch));
  f.add("input_data",
        options.input_file.empty() ? std::string_view(options.samples.zero ? "zero" : "random") : options.input_file);
  f.add("shared_memory", to_string(options.shared_memory));
  if (options.shared_memory == SharedMemory::cuda) f.add("cuda_device", options.cuda_device);
  f.add("checked", options.expect == "none" ? "output present" : std::string_view(options.expect));
  f.add("seed", options.samples.seed);
  f.add("percentile", options.rules.percentile);
  return f;
}

Fields statistics_of(const ServerStatistics& s) {
  Fields f;
  f.add("inferences", s.inferences);
  f.add("executions", s.executions);
  f.add("mean_batch", s.mean_batch());
  f.add("success", s.success.count);
  f.add("fail", s.fail.count);
  f.add("request_us", s.success.mean_us());
  f.add("queue_us", s.queue.mean_us());
  f.add("compute_input_us", s.compute_input.mean_us());
  f.add("compute_infer_us", s.compute_infer.mean_us());
  f.add("compute_output_us", s.compute_output.mean_us());
  if (s.cache_hit.count + s.cache_miss.count > 0) {
    f.add("cache_hits", s.cache_hit.count);
    f.add("cache_misses", s.cache_miss.count);
  }
  return f;
}

}  // namespace

std::string json_line(const Options& options, const Measured& m, const Machine& machine) {
  Fields machine_fields;
  machine_fields.add("cpu", machine.cpu);
  machine_fields.add("cores", static_cast<std::uint64_t>(machine.cores));
  machine_fields.add("kernel", machine.kernel);

  const Histogram& latency = m.total.latency;
  const double seconds = std::max(m.seconds, 1e-9);
  const auto answered = static_cast<double>(latency.count() + m.total.failed);
  Fields f;
  f.add("bench", "load");
  f.add("label", options.label);
  f.add("build", ARGOSY_LOAD_BUILD);
  f.add("machine", machine_fields);
  f.add("parameters", parameters_of(options, m));
  f.add("n", latency.count());
  f.add("seconds", m.seconds);
  f.add("windows", static_cast<std::uint64_t>(m.windows.size()));
  f.add("stable", m.stable);
  f.add("interrupted", m.interrupted);
  f.add("rps", static_cast<double>(latency.count()) / seconds);
  f.add("rps_median", median_of(m.windows, &WindowFigures::rps));
  f.add("rps_spread", spread_of(m.windows, &WindowFigures::rps));
  f.add("mean_us", latency.mean() / 1000.0);
  f.add("median_us", micros(latency.percentile(50)));
  f.add("spread", spread_of(m.windows, &WindowFigures::latency_us));
  f.add("min_us", micros(latency.min()));
  f.add("p50_us", micros(latency.percentile(50)));
  f.add("p90_us", micros(latency.percentile(90)));
  f.add("p95_us", micros(latency.percentile(95)));
  f.add("p99_us", micros(latency.percentile(99)));
  f.add("p99_9_us", micros(latency.percentile(99.9)));
  f.add("max_us", micros(latency.max()));
  f.add("percentile_us", micros(latency.percentile(options.rules.percentile)));
  f.add("error_bound", Histogram::kErrorBound);
  f.add("failed", m.total.failed);
  f.add("unanswered", m.unanswered);
  Fields errors;
  for (const auto& [text, times] : m.total.errors) errors.add(text, times);
  f.add("errors", errors);
  if (m.server_usage && answered > 0) {
    f.add("cpu_us_per_request", m.server_usage->cpu_s * 1e6 / answered);
    f.add("server_cores", m.server_usage->cpu_s / seconds);
    f.add("server_rss_mb", static_cast<double>(m.server_usage->rss_bytes) / 1e6);
    f.add("server_processes", static_cast<std::uint64_t>(m.server_usage->processes));
    f.add("server_threads", static_cast<std::uint64_t>(m.server_usage->threads));
    f.add("other_cores", std::max(0.0, (m.machine_cpu_s - m.client_cpu_s - m.server_usage->cpu_s) / seconds));
  }
  if (answered > 0) f.add("client_cpu_us_per_request", m.client_cpu_s * 1e6 / answered);
  f.add("client_cores", m.client_cpu_s / seconds);
  if (m.statistics) f.add("statistics", statistics_of(*m.statistics));
  return f.text();
}

}  // namespace argosy::load
