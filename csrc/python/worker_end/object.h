#pragma once

// Object: a reference to a Python object that is given up at the end of the scope.
// Null: an error is set, or there was nothing.
//
// Thread: the interpreter lock held.

#include <Python.h>

#include <utility>

namespace argosy::python {

class Object {
 public:
  Object() = default;
  explicit Object(PyObject* owned) : held_(owned) {}
  Object(Object&& other) noexcept : held_(std::exchange(other.held_, nullptr)) {}
  Object& operator=(Object&& other) noexcept {
    std::swap(held_, other.held_);
    return *this;
  }
  ~Object() { Py_XDECREF(held_); }

  static Object share(PyObject* borrowed) { return Object(Py_XNewRef(borrowed)); }

  PyObject* get() const { return held_; }
  PyObject* release() { return std::exchange(held_, nullptr); }
  explicit operator bool() const { return held_ != nullptr; }

 private:
  PyObject* held_ = nullptr;
};

}  // namespace argosy::python
