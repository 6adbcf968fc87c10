#pragma once

// The messages of csrc/worker/wire.h between bytes and Python objects, as the functions
// of the same names in argosy/worker/wire.py do it. Tensors that lie in an arena, BYTES
// and whatever is unusual are left to those functions.
//
// Thread: the interpreter lock held.

#include <Python.h>

namespace argosy::python {

// set_up(names: dict): the Python types and functions that are needed, by name.
PyObject* codec_set_up(PyObject* module, PyObject* names);

// read_requests(message: bytes, memory, outputs: tuple) -> list[Received]
PyObject* codec_read_requests(PyObject* module, PyObject* const* arguments, Py_ssize_t count);
// read_response(message: bytes, at: int, memory) -> InferResponse
PyObject* codec_read_response(PyObject* module, PyObject* const* arguments, Py_ssize_t count);
// put_tensors(to: bytearray, tensors: tuple, memory, lent: list)
PyObject* codec_put_tensors(PyObject* module, PyObject* const* arguments, Py_ssize_t count);

}  // namespace argosy::python
