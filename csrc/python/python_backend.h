#pragma once

// PythonBackend: a Backend whose models and instances are Python objects.
//
//   backend.load(spec: dict, slot: dict) -> model
//   model.make_instance(slot: dict) -> instance
//   instance.execute(batch: Batch) -> None      # once per batch, lock held
//   instance.enqueue(batch: DeviceBatch)        # instead, where there is one, on a GPU
//   instance.allowed_rows, instance.depth       # optional, with enqueue
//   instance.close() -> None                    # optional
//
// An exception is the batch's failure: an ArgosyError with its own code, anything else
// `internal` with its traceback in the log.
//
// Thread: as Backend says. The interpreter lock is taken once per batch.

#include <pybind11/pybind11.h>

#include <memory>

#include "backend/backend.h"

namespace argosy::python {

std::shared_ptr<backend::Backend> make_python_backend(pybind11::object backend);

}  // namespace argosy::python
