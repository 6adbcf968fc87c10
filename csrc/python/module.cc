#include <pybind11/pybind11.h>

#include "base/log.h"
#include "python/bind.h"

PYBIND11_MODULE(_core, m) {
  m.doc() = "The native core of argosy. Not a public interface: use the argosy package.";
  m.attr("__version__") = ARGOSY_VERSION;
  m.def(
      "log_verbose", [](bool on) { argosy::enable_log(argosy::LogLevel::verbose, on); }, pybind11::arg("on"),
      "Whether verbose lines of the core and of models are made at all.");
  argosy::python::bind_batch(m);
  argosy::python::bind_device_batch(m);
  argosy::python::bind_infer(m);
  argosy::python::bind_engine(m);
  argosy::python::bind_metrics(m);
  argosy::python::bind_shm(m);
  argosy::python::bind_front(m);
}
