#include <pybind11/pybind11.h>

#include "python/bind.h"

PYBIND11_MODULE(_core, m) {
  m.doc() = "The native core of argosy. Not a public interface: use the argosy package.";
  m.attr("__version__") = ARGOSY_VERSION;
  argosy::python::bind_batch(m);
  argosy::python::bind_infer(m);
  argosy::python::bind_engine(m);
  argosy::python::bind_front(m);
}
