#include "metrics/reported.h"

#include <utility>

namespace argosy::metrics {

Status Reported::replace(std::vector<Line> lines) {
  for (const Line& line : lines) {
    if (!is_metric_name(line.family.name)) {
      return invalid_argument("'" + line.family.name + "' is not a metric name");
    }
    for (const auto& [name, value] : line.labels) {
      if (!is_label_name(name)) {
        return invalid_argument("metric '" + line.family.name + "': '" + name + "' is not a label name");
      }
    }
  }
  auto made = std::make_shared<const std::vector<Line>>(std::move(lines));
  // Swapped: what is replaced dies outside of the lock.
  std::swap(*latest_.lock(), made);
  return {};
}

void Reported::collect(Page& page) const {
  const auto lines = *latest_.lock();
  if (lines == nullptr) return;
  for (const Line& line : *lines) page.add(line.family, line.labels, line.value);
}

}  // namespace argosy::metrics
