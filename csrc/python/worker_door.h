#pragma once

// The door of models in worker processes: their calls go straight into the engine, and
// their wishes about the repository to a Python callable, on the Python thread.
//
// Thread: the door any; worker_options() with the interpreter lock held.

#include <pybind11/pybind11.h>

#include <memory>

#include "engine/engine.h"
#include "python/py_thread.h"
#include "worker/worker_backend.h"

namespace argosy::python {

// control(verb: str, arguments: dict, reply) -> None, at once; reply(None | ArgosyError) is
// called once, on any thread. Set once a repository is there, refused until then.
class WorkerDoor final : public worker::Door {
 public:
  // Both outlive every worker.
  WorkerDoor(engine::Engine& engine, PyThread& thread) : engine_(engine), thread_(thread) {}

  void infer(const std::string& model, std::int64_t version, infer::RequestPtr request) override;
  void ready(const std::string& model, std::int64_t version, std::function<void(bool)> told) override;
  void control(const std::string& verb, const std::string& arguments, Done done) override;

  void set_control(pybind11::object control);  // with the interpreter lock held

 private:
  engine::Engine& engine_;
  PyThread& thread_;
  Guarded<std::shared_ptr<const void>> control_;  // a Python callable
};

// This interpreter, this package, this environment.
worker::WorkerOptions worker_options(std::shared_ptr<worker::Door> door,
                                     std::shared_ptr<worker::CustomMetrics> metrics);

}  // namespace argosy::python
