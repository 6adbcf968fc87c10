#pragma once

// CustomMetrics: the metrics that models make themselves, as one more source of the
// server's page. Families and series of the same name and labels are the same for all
// instances of all models: counters and histograms add up, a gauge has one value.
//
// InstanceMetrics: what one instance holds on the page, over all lives of its process.
// MetricsLife: what one process holds. When it dies, its counters and histograms stay
// until the instance goes, so that a restart does not set them back, and what it had
// added to a gauge is taken off: it counts nothing any more.
//
// A process is not trusted: numbers it was not given, and values that a kind cannot
// take, have no effect.
//
// Thread: any.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/guarded.h"
#include "base/status.h"
#include "metrics/registry.h"

namespace argosy::worker {

class MetricsLife;

class CustomMetrics final : public metrics::Source, public std::enable_shared_from_this<CustomMetrics> {
 public:
  enum class Operation : std::uint8_t { increment, set, observe };

  // `reserved`: whether a family that no model made is on the page; called without a lock held.
  explicit CustomMetrics(std::function<bool(const std::string&)> reserved) : reserved_(std::move(reserved)) {}

  void collect(metrics::Page& page) const override;

 private:
  friend class MetricsLife;
  struct Series {
    double value = 0;
    std::map<const MetricsLife*, double> added;  // gauges: by whom, since the last set
    std::vector<double> bounds;                  // histograms, ascending
    std::vector<std::uint64_t> counts;           // one more than bounds
  };
  struct Family {
    metrics::Family head;
    std::map<metrics::Labels, std::weak_ptr<Series>> series;
  };
  using Families = std::map<std::string, std::weak_ptr<Family>>;
  bool has(const std::string& family) const;

  const std::function<bool(const std::string&)> reserved_;
  mutable Guarded<Families> families_;
};

class InstanceMetrics {
 public:
  explicit InstanceMetrics(std::shared_ptr<CustomMetrics> page) : page_(std::move(page)) {}

 private:
  friend class MetricsLife;
  const std::shared_ptr<CustomMetrics> page_;
  Guarded<std::vector<std::shared_ptr<const void>>> kept_;  // series of lives that ended
};

class MetricsLife {
 public:
  explicit MetricsLife(std::shared_ptr<InstanceMetrics> instance) : instance_(std::move(instance)) {}
  ~MetricsLife() { end(); }

  // already_exists: the name is taken, by another kind or by the server.
  Result<std::uint64_t> make_family(metrics::Family family);
  // The series of these labels, new or not. `bounds`: rising, of a histogram; those of a live series stay.
  Result<std::uint64_t> make_metric(std::uint64_t family, metrics::Labels labels, std::vector<double> bounds);
  Status drop_family(std::uint64_t family);  // invalid_argument: it has metrics
  void drop_metric(std::uint64_t metric);

  void update(std::uint64_t metric, CustomMetrics::Operation operation, double value);
  Result<double> value(std::uint64_t metric) const;  // of a counter or gauge

  void end();  // the process is dead

 private:
  using Family = CustomMetrics::Family;
  using Series = CustomMetrics::Series;
  struct Held {
    std::uint64_t number_of_family = 0;
    std::shared_ptr<Family> family;
    std::shared_ptr<Series> series;
  };
  struct State {
    std::uint64_t last = 0;
    std::map<std::uint64_t, std::shared_ptr<Family>> families;
    std::map<std::uint64_t, Held> metrics;
  };
  void take_off(Series& series);  // with the page's lock held

  const std::shared_ptr<InstanceMetrics> instance_;
  mutable Guarded<State> state_;  // before the page's lock
};

}  // namespace argosy::worker
