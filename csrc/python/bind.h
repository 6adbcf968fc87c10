#pragma once

// The binders, one per bound room; module.cc calls them in order.

#include <pybind11/pybind11.h>

namespace argosy::python {

void bind_batch(pybind11::module_& m);
void bind_device_batch(pybind11::module_& m);
void bind_infer(pybind11::module_& m);
void bind_metrics(pybind11::module_& m);
void bind_engine(pybind11::module_& m);
void bind_shm(pybind11::module_& m);
void bind_front(pybind11::module_& m);

}  // namespace argosy::python
