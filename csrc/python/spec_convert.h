#pragma once

// The lowered model configuration (a plain dict made by argosy.config.lower) to
// ModelSpec and back; and what an instance is granted, as a dict.
//
// Thread: with the interpreter lock held.

#include <pybind11/pybind11.h>

#include "backend/backend.h"
#include "model/spec.h"

namespace argosy::python {

// Raises ArgosyError naming the field when the dict is not what lower() makes.
model::ModelSpec spec_from_dict(const pybind11::dict& lowered);
pybind11::dict spec_to_dict(const model::ModelSpec& spec);
pybind11::dict slot_to_dict(const backend::InstanceSlot& slot);

}  // namespace argosy::python
