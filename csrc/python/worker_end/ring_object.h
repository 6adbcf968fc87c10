#pragma once

// Ring as a Python type: the worker's ends of the rings, with the same methods as the
// class in argosy/worker/rings.py, which stands in where this extension is missing.
//
// Thread: the interpreter lock held; wait() lets it go. One thread at a time per ring;
// callers lock.

#include <Python.h>

namespace argosy::python {

// Ring(memory, address, at, capacity). Null, with an error set: it could not be made.
PyObject* make_ring_type();

}  // namespace argosy::python
