#include "python/status_caster.h"

#include <array>
#include <string>

namespace argosy::python {
namespace py = pybind11;

py::object to_exception(const Status& status) {
  return py::module_::import("argosy.errors").attr("error_of")(std::string(to_string(status.code())), status.message());
}

void raise(const Status& status) {
  const py::object made = to_exception(status);
  PyErr_SetObject(py::type::of(made).ptr(), made.ptr());
  throw py::error_already_set();
}

Status status_of(py::error_already_set& error) {
  const py::object base = py::module_::import("argosy.errors").attr("ArgosyError");
  if (py::isinstance(error.value(), base)) return status_of_exception(error.value());
  return internal_error(error.what());
}

Status failure_of(std::string_view code, std::string message) {
  for (int i = 1; i <= static_cast<int>(StatusCode::internal); ++i) {
    if (to_string(static_cast<StatusCode>(i)) == code) return {static_cast<StatusCode>(i), std::move(message)};
  }
  return internal_error(std::move(message));
}

Status status_of_exception(const py::object& exception) {
  if (exception.is_none()) return {};
  const auto message = py::str(exception).cast<std::string>();
  const auto code = py::getattr(exception, "code", py::str()).cast<std::string>();
  return failure_of(code, message);
}

}  // namespace argosy::python
