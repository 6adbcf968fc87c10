#include "python/gil.h"

#include <vector>

#include "base/guarded.h"

namespace argosy::python {
namespace {

// Never destroyed: native threads may let go of objects while the process exits.
Guarded<std::vector<PyObject*>>& drops() {
  static auto* list = new Guarded<std::vector<PyObject*>>();
  return *list;
}

// Pairs the first PyGILState_Ensure of a native thread with its release at the end.
struct KeptState {
  KeptState() {
    if (PyGILState_GetThisThreadState() != nullptr) return;  // a Python thread: it has one
    made = true;
    gil = PyGILState_Ensure();
    state = PyEval_SaveThread();
  }
  ~KeptState() {
    if (!made || !Py_IsInitialized()) return;
    PyEval_RestoreThread(state);
    PyGILState_Release(gil);
  }
  bool made = false;
  PyGILState_STATE gil{};
  PyThreadState* state = nullptr;
};

}  // namespace

void keep_thread_state() { static thread_local KeptState kept; }

void empty_drops(const GilHeld&) {
  std::vector<PyObject*> gone;
  drops().lock()->swap(gone);
  for (PyObject* object : gone) Py_DECREF(object);
}

std::size_t waiting_drops() { return drops().lock()->size(); }

std::shared_ptr<const void> native_owner(pybind11::object object) {
  PyObject* raw = object.release().ptr();
  return {static_cast<const void*>(raw), [raw](const void*) { drops().lock()->push_back(raw); }};
}

}  // namespace argosy::python
