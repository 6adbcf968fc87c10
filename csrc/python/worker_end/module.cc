// argosy._worker: what a model's process does natively where it runs the interpreter that
// this was built for. It holds nothing of the server, and links nothing but the C library.

#include <Python.h>
#include <signal.h>
#include <unistd.h>

#include "python/worker_end/codec.h"
#include "python/worker_end/object.h"
#include "python/worker_end/ring_object.h"
#include "worker/group.h"

namespace {

using argosy::python::Object;

template <class Function>
PyCFunction fast(Function* function) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

// The server is gone, and this process group, which is this process and what its model
// started, goes as well. Another process ends it: this one must be dead first, because its
// other threads could start more, and because it holds resource trackers' pipes. It shares
// our memory, for a copy of what a model holds takes long.
void end_own_group(int) {
  const pid_t self = getpid(), group = getpgrp();
  if (vfork() == 0) {
    kill(self, SIGKILL);
    close_range(0, ~0U, 0);
    argosy::worker::end_group(group);
    _exit(0);
  }
  kill(0, SIGKILL);  // there was no other process to be had
}

PyObject* end_group_on(PyObject*, PyObject* number) {
  const long signal = PyLong_AsLong(number);
  if (PyErr_Occurred() != nullptr) return nullptr;
  struct sigaction action {};
  action.sa_handler = end_own_group;
  sigfillset(&action.sa_mask);
  if (sigaction(static_cast<int>(signal), &action, nullptr) != 0) return PyErr_SetFromErrno(PyExc_OSError);
  Py_RETURN_NONE;
}

PyObject* end_group(PyObject*, PyObject* leader) {
  const long group = PyLong_AsLong(leader);
  if (PyErr_Occurred() != nullptr) return nullptr;
  if (group <= 1) return PyErr_Format(PyExc_ValueError, "expected the number of a process group, got %ld", group);
  Py_BEGIN_ALLOW_THREADS;
  argosy::worker::end_group(static_cast<pid_t>(group));
  Py_END_ALLOW_THREADS;
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
      {"end_group", end_group, METH_O, "Kills a process group by its number, except its resource trackers."},
      {nullptr, nullptr, 0, nullptr}};
  static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "argosy._worker", nullptr, -1, functions};
  Object module(PyModule_Create(&definition));
  const Object ring(module ? argosy::python::make_ring_type() : nullptr);
  if (!ring || PyModule_AddObjectRef(module.get(), "Ring", ring.get()) != 0) return nullptr;
  return module.release();
}
