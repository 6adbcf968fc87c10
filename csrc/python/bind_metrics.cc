#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "metrics/reported.h"
#include "python/bind.h"
#include "python/runtime.h"
#include "python/status_caster.h"

namespace argosy::python {
namespace py = pybind11;

namespace {

// (name, kind, help, labels, value)
using Line = std::tuple<std::string, std::string, std::string, metrics::Labels, double>;

metrics::Kind kind_of(const std::string& name) {
  if (name == "counter") return metrics::Kind::counter;
  if (name == "gauge") return metrics::Kind::gauge;
  raise(invalid_argument("a reported metric is a counter or a gauge, not a '" + name + "'"));
}

}  // namespace

void bind_metrics(py::module_& m) {
  py::class_<metrics::Reported, std::shared_ptr<metrics::Reported>>(
      m, "ReportedMetrics", "Series on the metrics page that Python measures and hands over; gone with this object.")
      .def(py::init([](const Runtime& runtime) {
             auto made = std::make_shared<metrics::Reported>();
             runtime.metrics->add(made);
             return made;
           }),
           py::arg("engine"))
      .def(
          "replace",
          [](metrics::Reported& self, std::vector<Line> given) {
            std::vector<metrics::Reported::Line> lines;
            lines.reserve(given.size());
            for (auto& [name, kind, help, labels, value] : given) {
              lines.push_back({{std::move(name), kind_of(kind), std::move(help)}, std::move(labels), value});
            }
            check(self.replace(std::move(lines)));
          },
          py::arg("lines"),
          "[(name, \"counter\" or \"gauge\", help, [(label, value)], number)]: all there are, in place of those "
          "before.");
}

}  // namespace argosy::python
