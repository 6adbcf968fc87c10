#pragma once

// PythonControl: a ControlHandler that posts each request to the Python thread, where
// a Python callable answers it, at once or later.
//
//   handler(protocol, method, path, headers, body, reply) -> None
//   reply(code, message, http_status, headers, body)      # once, any thread
//
// Thread: handle() any; it never takes the interpreter lock.

#include <pybind11/pybind11.h>

#include <memory>

#include "python/py_thread.h"
#include "serve/control.h"

namespace argosy::python {

class PythonControl final : public serve::ControlHandler {
 public:
  PythonControl(PyThread& thread, pybind11::object handler);
  void handle(serve::ControlRequest request, serve::ControlReply reply) override;

 private:
  PyThread& thread_;
  std::shared_ptr<const void> handler_;  // a Python callable
};

void bind_control_reply(pybind11::module_& m);

}  // namespace argosy::python
