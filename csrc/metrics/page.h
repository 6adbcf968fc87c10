#pragma once

// Page: one reading of all metrics: families in order of their names, each with its
// series. What a scrape collects and a text format prints.
//
// Thread: a value; any.

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "metrics/instruments.h"

namespace argosy::metrics {

enum class Kind : std::uint8_t { counter, gauge, histogram };

using Labels = std::vector<std::pair<std::string, std::string>>;

struct Family {
  std::string name;
  Kind kind = Kind::counter;
  std::string help;
};

class Page {
 public:
  using Value = std::variant<std::uint64_t, double, HistogramReading>;
  struct Series {
    Labels labels;
    Value value;
  };
  struct Block {
    Kind kind = Kind::counter;
    std::string help;
    std::vector<Series> series;
  };

  // A family that is there before it has a series: its HELP and TYPE are shown.
  Block& family(const Family& family) {
    auto [at, added] = blocks_.try_emplace(family.name);
    if (added) at->second = {family.kind, family.help, {}};
    return at->second;
  }
  void add(const Family& family, Labels labels, Value value) {
    this->family(family).series.push_back({std::move(labels), std::move(value)});
  }

  const std::map<std::string, Block>& blocks() const { return blocks_; }

 private:
  std::map<std::string, Block> blocks_;
};

}  // namespace argosy::metrics
