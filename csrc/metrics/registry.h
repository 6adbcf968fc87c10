#pragma once

// Registry: everything a page of metrics shows, from two origins. Instruments made
// here live as long as their holder: when the last handle goes, the series is gone
// from the page. Sources are asked when a page is made, for numbers that somebody
// keeps anyway (statistics, queue lengths).
//
// Thread: any. A source is asked without a lock held.

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/guarded.h"
#include "base/status.h"
#include "metrics/instruments.h"
#include "metrics/page.h"

namespace argosy::metrics {

bool is_metric_name(std::string_view name);  // [a-zA-Z_:][a-zA-Z0-9_:]*
bool is_label_name(std::string_view name);   // the same without colons

class Source {
 public:
  virtual ~Source() = default;
  virtual void collect(Page& page) const = 0;
};

class Registry {
 public:
  // The live series of this family and these labels, or a new one. already_exists when
  // the family's name is taken by another kind; invalid_argument when a name is not one.
  Result<std::shared_ptr<Counter>> counter(const Family& family, Labels labels);
  Result<std::shared_ptr<Gauge>> gauge(const Family& family, Labels labels);
  // `bounds` and `unit` as Histogram's; those of a live series stay.
  Result<std::shared_ptr<Histogram>> histogram(const Family& family, Labels labels, std::vector<std::uint64_t> bounds,
                                               double unit);

  void add(std::weak_ptr<const Source> source);

  Page collect() const;

 private:
  using Instrument = std::variant<std::weak_ptr<Counter>, std::weak_ptr<Gauge>, std::weak_ptr<Histogram>>;
  struct Entry {
    Family family;
    std::map<Labels, Instrument> series;
  };
  struct State {
    std::map<std::string, Entry> families;
    std::vector<std::weak_ptr<const Source>> sources;
  };

  template <class T, class Make>
  Result<std::shared_ptr<T>> find_or_make(const Family& family, Kind kind, Labels labels, Make make);

  mutable Guarded<State> state_;
};

}  // namespace argosy::metrics
