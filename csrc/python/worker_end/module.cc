// argosy._worker: what a model's process does natively where it runs the interpreter that
// this was built for. It holds nothing of the server, and links nothing but the C library.

#include <Python.h>
#include <signal.h>

#include "python/worker_end/codec.h"
#include "python/worker_end/object.h"
#include "python/worker_end/ring_object.h"

namespace {

using argosy::python::Object;

template <class Function>
PyCFunction fast(Function* function) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

// Our process group is this process and what its model started.
void end_group(int) { kill(0, SIGKILL); }

PyObject* end_group_on(PyObject*, PyObject* number) {
  const long signal = PyLong_AsLong(number);
  if (PyErr_Occurred() != nullptr) return nullptr;
  struct sigaction action {};
  action.sa_handler = end_group;
  if (sigaction(static_cast<int>(signal), &action, nullptr) != 0) return PyErr_SetFromErrno(PyExc_OSError);
  Py_RETURN_NONE;
}

}  // namespace

PyMODINIT_FUNC PyInit__worker() {
  static PyMethodDef functions[] = {
      {"set_up", argosy::python::codec_set_up, METH_O, "The Python types and functions that the others need, by name."},
      {"read_requests", fast(argosy::python::codec_read_requests), METH_FASTCALL, "As argosy.worker.wire's."},
      {"read_response", fast(argosy::python::codec_read_response), METH_FASTCALL, "As argosy.worker.wire's."},
      {"put_tensors", fast(argosy::python::codec_put_tensors), METH_FASTCALL, "As argosy.worker.wire's."},
      {"end_group_on", end_group_on, METH_O,
       "From now on this signal kills the process group, whatever the interpreter does at the moment."},
      {nullptr, nullptr, 0, nullptr}};
  static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "argosy._worker", nullptr, -1, functions};
  Object module(PyModule_Create(&definition));
  const Object ring(module ? argosy::python::make_ring_type() : nullptr);
  if (!ring || PyModule_AddObjectRef(module.get(), "Ring", ring.get()) != 0) return nullptr;
  return module.release();
}
