#include "metrics/registry.h"

#include <algorithm>

namespace argosy::metrics {
namespace {

// [a-zA-Z_:][a-zA-Z0-9_:]*, without the colon for labels.
bool is_name(std::string_view name, bool colon) {
  const auto letter = [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (colon && c == ':');
  };
  if (name.empty() || !letter(name.front())) return false;
  return std::all_of(name.begin(), name.end(), [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

std::string_view to_string(Kind kind) {
  return kind == Kind::counter ? "counter" : kind == Kind::gauge ? "gauge" : "histogram";
}

}  // namespace

bool is_metric_name(std::string_view name) { return is_name(name, true); }
bool is_label_name(std::string_view name) { return is_name(name, false); }

template <class T, class Make>
Result<std::shared_ptr<T>> Registry::find_or_make(const Family& family, Kind kind, Labels labels, Make make) {
  if (!is_metric_name(family.name)) return invalid_argument("'" + family.name + "' is not a metric name");
  for (const auto& [name, value] : labels) {
    if (!is_label_name(name)) {
      return invalid_argument("metric '" + family.name + "': '" + name + "' is not a label name");
    }
  }
  std::sort(labels.begin(), labels.end());
  auto state = state_.lock();
  auto [at, added] = state->families.try_emplace(family.name);
  if (added) {
    at->second.family = family;
    at->second.family.kind = kind;
  }
  Entry& entry = at->second;
  if (entry.family.kind != kind) {
    return already_exists("metric '" + family.name + "' exists as a " + std::string(to_string(entry.family.kind)) +
                          ", not as a " + std::string(to_string(kind)));
  }
  Instrument& kept = entry.series[std::move(labels)];
  if (auto* known = std::get_if<std::weak_ptr<T>>(&kept)) {
    if (auto live = known->lock()) return live;
  }
  std::shared_ptr<T> made = make();
  kept = std::weak_ptr<T>(made);
  return made;
}

Result<std::shared_ptr<Counter>> Registry::counter(const Family& family, Labels labels) {
  return find_or_make<Counter>(family, Kind::counter, std::move(labels), [] { return std::make_shared<Counter>(); });
}

Result<std::shared_ptr<Gauge>> Registry::gauge(const Family& family, Labels labels) {
  return find_or_make<Gauge>(family, Kind::gauge, std::move(labels), [] { return std::make_shared<Gauge>(); });
}

Result<std::shared_ptr<Histogram>> Registry::histogram(const Family& family, Labels labels,
                                                       std::vector<std::uint64_t> bounds, double unit) {
  return find_or_make<Histogram>(family, Kind::histogram, std::move(labels),
                                 [&] { return std::make_shared<Histogram>(std::move(bounds), unit); });
}

void Registry::add(std::weak_ptr<const Source> source) { state_.lock()->sources.push_back(std::move(source)); }

Page Registry::collect() const {
  Page page;
  std::vector<std::shared_ptr<const Source>> sources;
  {
    auto state = state_.lock();
    for (auto& [name, entry] : state->families) {
      std::erase_if(entry.series, [](const auto& series) {
        return std::visit([](const auto& instrument) { return instrument.expired(); }, series.second);
      });
      for (const auto& [labels, instrument] : entry.series) {
        if (const auto* counter = std::get_if<std::weak_ptr<Counter>>(&instrument)) {
          if (const auto live = counter->lock()) page.add(entry.family, labels, live->value());
        } else if (const auto* gauge = std::get_if<std::weak_ptr<Gauge>>(&instrument)) {
          if (const auto live = gauge->lock()) page.add(entry.family, labels, live->value());
        } else if (const auto live = std::get<std::weak_ptr<Histogram>>(instrument).lock()) {
          page.add(entry.family, labels, live->read());
        }
      }
    }
    std::erase_if(state->families, [](const auto& family) { return family.second.series.empty(); });
    std::erase_if(state->sources, [](const auto& source) { return source.expired(); });
    for (const auto& source : state->sources) {
      if (auto live = source.lock()) sources.push_back(std::move(live));
    }
  }
  for (const auto& source : sources) source->collect(page);
  return page;
}

}  // namespace argosy::metrics
