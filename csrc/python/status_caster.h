#pragma once

// Status to Python: ok is None, anything else raises the exception of its code from
// argosy.errors; and back, so that a Python failure reaches a client with its code.
//
// Thread: with the interpreter lock held.

#include <pybind11/pybind11.h>

#include <string>
#include <string_view>
#include <utility>

#include "base/status.h"

namespace argosy::python {

pybind11::object to_exception(const Status& status);  // not ok; made, not raised
[[noreturn]] void raise(const Status& status);

inline void check(const Status& status) {
  if (!status.ok()) raise(status);
}

template <class T>
T take(Result<T> result) {
  if (!result.ok()) raise(result.status());
  return *std::move(result);
}

// A failure by the name of its code, as to_string() writes it; `internal` where it has none.
Status failure_of(std::string_view code, std::string message);

// An ArgosyError keeps its code and text; any other exception is `internal` with the
// type, the text and, where there is one, the traceback.
Status status_of(pybind11::error_already_set& error);

// The same of an exception that was caught in Python; None is ok.
Status status_of_exception(const pybind11::object& exception);

}  // namespace argosy::python
