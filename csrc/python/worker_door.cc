#include "python/worker_door.h"

#include <unistd.h>

#include <utility>

#include "python/gil.h"
#include "python/status_caster.h"

namespace argosy::python {
namespace py = pybind11;

void WorkerDoor::infer(const std::string& model, std::int64_t version, infer::RequestPtr request) {
  auto found = engine_.find(model, version);
  if (!found.ok()) return std::move(request->reply).finish({found.status(), {}, {}});
  engine_.submit_or_run(*found, std::move(request));
}

void WorkerDoor::ready(const std::string& model, std::int64_t version, std::function<void(bool)> told) {
  auto found = engine_.find(model, version);
  if (!found.ok()) return told(false);
  engine::ask_health(*found, [told = std::move(told)](const Status& health) { told(health.ok()); });
}

void WorkerDoor::set_control(py::object control) { *control_.lock() = native_owner(std::move(control)); }

void WorkerDoor::control(const std::string& verb, const std::string& arguments, Done done) {
  std::shared_ptr<const void> callable;
  {
    auto held = control_.lock();
    callable = *held;
  }
  if (!callable) return done(unsupported("loading and unloading from a model is not served by this server"));
  thread_.post([callable, verb, arguments, done = std::move(done)](const GilHeld&) {
    Status status;
    try {
      auto* raw = static_cast<PyObject*>(const_cast<void*>(callable.get()));
      const py::object loaded = py::module_::import("json").attr("loads")(arguments);
      // Loading takes as long as a model takes: the callable hands it to a thread of its own.
      py::reinterpret_borrow<py::object>(raw)(
          verb, loaded, py::cpp_function([done](const py::object& error) { done(status_of_exception(error)); }));
      return;
    } catch (py::error_already_set& error) {
      status = status_of(error);
    } catch (const std::exception& error) {
      status = internal_error(error.what());
    }
    done(std::move(status));
  });
}

worker::WorkerOptions worker_options(std::shared_ptr<worker::Door> door,
                                     std::shared_ptr<worker::CustomMetrics> metrics) {
  worker::WorkerOptions options;
  options.python = py::module_::import("sys").attr("executable").cast<std::string>();
  // Not __path__: in an editable install its first folder holds the extension alone.
  const py::object file = py::module_::import("argosy").attr("__file__");
  const py::module_ path = py::module_::import("os.path");
  options.package = path.attr("dirname")(file).cast<std::string>();
  const py::object core = py::module_::import("argosy._core").attr("__file__");
  options.extensions = path.attr("dirname")(path.attr("realpath")(core)).cast<std::string>();
  for (char** variable = environ; *variable != nullptr; ++variable) options.environment.emplace_back(*variable);
  options.door = std::move(door);
  options.metrics = std::move(metrics);
  return options;
}

}  // namespace argosy::python
