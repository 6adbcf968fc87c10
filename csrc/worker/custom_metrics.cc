#include "worker/custom_metrics.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace argosy::worker {
namespace {

using metrics::Kind;

constexpr std::size_t kMostSeries = 1u << 16;  // of one process

std::string_view name_of(Kind kind) {
  return kind == Kind::counter ? "counter" : kind == Kind::gauge ? "gauge" : "histogram";
}

Status unknown(std::string_view what, std::uint64_t number) {
  return not_found("there is no " + std::string(what) + " " + std::to_string(number));
}

metrics::HistogramReading reading_of(const std::vector<double>& bounds, const std::vector<std::uint64_t>& counts,
                                     double sum) {
  metrics::HistogramReading reading{.bounds = bounds, .cumulative = {}, .count = 0, .sum = sum};
  for (std::size_t i = 0; i < counts.size(); ++i) {
    reading.count += counts[i];
    if (i < bounds.size()) reading.cumulative.push_back(reading.count);
  }
  return reading;
}

}  // namespace

void CustomMetrics::collect(metrics::Page& page) const {
  auto families = families_.lock();
  std::erase_if(*families, [](const auto& one) { return one.second.expired(); });
  for (const auto& [name, weak] : *families) {
    const auto family = weak.lock();
    if (!family) continue;
    std::erase_if(family->series, [](const auto& one) { return one.second.expired(); });
    for (const auto& [labels, one] : family->series) {
      const auto series = one.lock();
      if (!series) continue;
      if (family->head.kind == Kind::histogram) {
        page.add(family->head, labels, reading_of(series->bounds, series->counts, series->value));
      } else {
        page.add(family->head, labels, series->value);
      }
    }
  }
}

bool CustomMetrics::has(const std::string& family) const {
  auto families = families_.lock();
  const auto found = families->find(family);
  return found != families->end() && !found->second.expired();
}

Result<std::uint64_t> MetricsLife::make_family(metrics::Family head) {
  if (!metrics::is_metric_name(head.name)) return invalid_argument("'" + head.name + "' is not a metric name");
  const std::string taken = "metric '" + head.name + "' exists";
  CustomMetrics& page = *instance_->page_;
  if (!page.has(head.name) && page.reserved_(head.name)) {
    return already_exists(taken + " already: it is one of the server's own");
  }
  auto state = state_.lock();
  if (state->families.size() >= kMostSeries) return resource_exhausted("this process has made too many metrics");
  auto families = page.families_.lock();
  auto& known = (*families)[head.name];
  auto family = known.lock();
  if (family && family->head.kind != head.kind) {
    return already_exists(taken + " as a " + std::string(name_of(family->head.kind)) + ", not as a " +
                          std::string(name_of(head.kind)));
  }
  if (family && family->head.help != head.help) {
    return already_exists(taken + " with another description: '" + family->head.help + "'");
  }
  if (!family) {
    family = std::make_shared<Family>(Family{std::move(head), {}});
    known = family;
  }
  state->families.emplace(++state->last, std::move(family));
  return state->last;
}

Result<std::uint64_t> MetricsLife::make_metric(std::uint64_t number, metrics::Labels labels,
                                               std::vector<double> bounds) {
  auto state = state_.lock();
  const auto family = state->families.find(number);
  if (family == state->families.end()) return unknown("metric family", number);
  const metrics::Family& head = family->second->head;
  std::sort(labels.begin(), labels.end());
  for (const auto& [name, value] : labels) {
    if (!metrics::is_label_name(name)) {
      return invalid_argument("metric '" + head.name + "': '" + name + "' is not a label name");
    }
  }
  const auto falls = [](double low, double high) { return !(low < high); };
  if (std::adjacent_find(bounds.begin(), bounds.end(), falls) != bounds.end() ||
      std::any_of(bounds.begin(), bounds.end(), [](double bound) { return std::isnan(bound); })) {
    return invalid_argument("metric '" + head.name + "': buckets must rise");
  }
  if (state->metrics.size() >= kMostSeries) return resource_exhausted("this process has made too many metrics");
  auto lock = instance_->page_->families_.lock();
  auto& known = family->second->series[std::move(labels)];
  auto series = known.lock();
  if (!series) {
    series = std::make_shared<Series>();
    if (!bounds.empty() && std::isinf(bounds.back())) bounds.pop_back();
    series->counts.resize(bounds.size() + 1);
    series->bounds = std::move(bounds);
    known = series;
  }
  state->metrics.emplace(++state->last, Held{number, family->second, std::move(series)});
  return state->last;
}

Status MetricsLife::drop_family(std::uint64_t number) {
  auto state = state_.lock();
  if (!state->families.contains(number)) return unknown("metric family", number);
  const bool used =
      std::ranges::any_of(state->metrics, [&](const auto& one) { return one.second.number_of_family == number; });
  if (used) return invalid_argument("a metric family cannot be dropped before its metrics");
  state->families.erase(number);
  return {};
}

void MetricsLife::drop_metric(std::uint64_t number) {
  auto state = state_.lock();
  const auto found = state->metrics.find(number);
  if (found == state->metrics.end()) return;
  const Held held = std::move(found->second);
  state->metrics.erase(found);
  // The model's own word ends also what its earlier lives left.
  std::erase_if(*instance_->kept_.lock(), [&](const auto& kept) { return kept.get() == held.series.get(); });
  const bool again =
      std::ranges::any_of(state->metrics, [&](const auto& one) { return one.second.series == held.series; });
  if (again) return;
  auto page = instance_->page_->families_.lock();
  take_off(*held.series);
}

void MetricsLife::take_off(Series& series) {
  const auto mine = series.added.find(this);
  if (mine == series.added.end()) return;
  series.value -= mine->second;
  series.added.erase(mine);
}

void MetricsLife::update(std::uint64_t number, CustomMetrics::Operation operation, double value) {
  using Operation = CustomMetrics::Operation;
  auto state = state_.lock();
  const auto found = state->metrics.find(number);
  if (found == state->metrics.end()) return;
  auto page = instance_->page_->families_.lock();
  Series& series = *found->second.series;
  const Kind kind = found->second.family->head.kind;
  if (kind == Kind::counter && operation == Operation::increment && value >= 0) {
    series.value += value;
  } else if (kind == Kind::gauge && operation == Operation::increment) {
    series.value += value;
    series.added[this] += value;
  } else if (kind == Kind::gauge && operation == Operation::set) {
    series.value = value;
    series.added.clear();
  } else if (kind == Kind::histogram && operation == Operation::observe && !std::isnan(value)) {
    const auto at = std::lower_bound(series.bounds.begin(), series.bounds.end(), value) - series.bounds.begin();
    ++series.counts[static_cast<std::size_t>(at)];
    series.value += value;
  }
}

Result<double> MetricsLife::value(std::uint64_t number) const {
  auto state = state_.lock();
  const auto found = state->metrics.find(number);
  if (found == state->metrics.end()) return unknown("metric", number);
  if (found->second.family->head.kind == Kind::histogram) return unsupported("a histogram has no single value");
  auto page = instance_->page_->families_.lock();
  return double{found->second.series->value};
}

void MetricsLife::end() {
  auto state = state_.lock();
  {
    auto page = instance_->page_->families_.lock();
    for (const auto& [number, held] : state->metrics) {
      if (held.family->head.kind == Kind::gauge) take_off(*held.series);
    }
  }
  auto kept = instance_->kept_.lock();
  for (auto& [number, held] : state->metrics) {
    const bool there = std::ranges::any_of(*kept, [&](const auto& one) { return one.get() == held.series.get(); });
    if (held.family->head.kind == Kind::gauge || there) continue;
    // The family lives as long as its series.
    const void* const series = held.series.get();
    kept->emplace_back(series, [held = std::move(held)](const void*) mutable { held = {}; });
  }
  state->metrics.clear();
  state->families.clear();
}

}  // namespace argosy::worker
