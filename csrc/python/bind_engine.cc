#include "python/bind.h"

#include <pybind11/chrono.h>
#include <pybind11/stl.h>

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "backend/identity/identity.h"
#include "device/open_devices.h"
#include "engine/engine.h"
#include "python/devices.h"
#include "python/infer_call.h"
#include "python/python_backend.h"
#include "python/runtime.h"
#include "python/spec_convert.h"
#include "python/status_caster.h"

namespace argosy::python {
namespace py = pybind11;

namespace {

py::dict duration(const engine::Duration& d) {
  py::dict out;
  out["count"] = d.count;
  out["ns"] = d.ns;
  return out;
}

py::dict statistics_to_dict(const engine::ModelStatistics& s) {
  py::dict inference;
  inference["success"] = duration(s.success);
  inference["fail"] = duration(s.fail);
  inference["queue"] = duration(s.queue);
  inference["compute_input"] = duration(s.compute_input);
  inference["compute_infer"] = duration(s.compute_infer);
  inference["compute_output"] = duration(s.compute_output);
  inference["cache_hit"] = duration(s.cache_hit);
  inference["cache_miss"] = duration(s.cache_miss);
  py::list batches;
  for (const auto& [rows, b] : s.batches) {
    py::dict row;
    row["batch_size"] = rows;
    row["compute_input"] = duration(b.compute_input);
    row["compute_infer"] = duration(b.compute_infer);
    row["compute_output"] = duration(b.compute_output);
    batches.append(row);
  }
  py::dict responses;
  for (const auto& [index, r] : s.responses) {
    py::dict row;
    row["compute_infer"] = duration(r.compute_infer);
    row["compute_output"] = duration(r.compute_output);
    row["success"] = duration(r.success);
    row["fail"] = duration(r.fail);
    row["empty_response"] = duration(r.empty_response);
    row["cancel"] = duration(r.cancel);
    responses[py::str(index)] = row;
  }
  py::dict out;
  out["name"] = s.name;
  out["version"] = std::to_string(s.version);
  out["last_inference"] = s.last_inference_ms;
  out["inference_count"] = s.inferences;
  out["execution_count"] = s.executions;
  out["inference_stats"] = inference;
  out["response_stats"] = responses;
  out["batch_stats"] = batches;
  return out;
}

std::shared_ptr<Runtime> make_runtime(std::size_t max_queued_bytes, std::uint32_t cpu_threads,
                                      const std::string& devices, std::size_t pinned_bytes,
                                      const std::map<int, std::size_t>& device_bytes, double least_compute,
                                      bool peer_access) {
  const device::DeviceBudget budget{.pinned_bytes = pinned_bytes,
                                    .device_bytes_of = device_bytes,
                                    .least_compute = least_compute,
                                    .peer_access = peer_access};
  return std::make_shared<Runtime>(engine::EngineOptions{.max_queued_bytes = max_queued_bytes,
                                                         .cpu_threads = cpu_threads,
                                                         .devices = open_named_devices(devices, budget)});
}

}  // namespace

void bind_engine(py::module_& m) {
  m.def("built_with_cuda", &device::built_with_cuda, "Whether this build can use GPUs.");
  py::class_<Runtime, std::shared_ptr<Runtime>>(
      m, "Engine", "The core: loads and unloads models, queues and runs requests. Knows no protocol and no repository.")
      .def(py::init(&make_runtime), py::kw_only(), py::arg("max_queued_bytes"), py::arg("cpu_threads"),
           py::arg("devices") = "cuda", py::arg("pinned_bytes") = device::DeviceBudget{}.pinned_bytes,
           py::arg("device_bytes") = std::map<int, std::size_t>{},
           py::arg("least_compute") = device::DeviceBudget{}.least_compute, py::arg("peer_access") = true)
      .def(
          "gpus", [](const Runtime& self) { return devices_to_list(self.devices); },
          "[{device, name, memory_bytes, compute_capability, processors, pool_bytes}] of the GPUs that serve.")
      .def(
          "gpus_left_alone", [](const Runtime& self) { return self.devices.left_alone; },
          "One sentence per GPU that was found and does not serve: why.")
      .def(
          "add_backend",
          [](Runtime& self, std::string name, py::object backend) {
            check(self.backends->add(std::move(name), make_python_backend(std::move(backend))));
          },
          py::arg("name"), py::arg("backend"), "Registers a backend: an object with load(spec, slot).")
      .def("backends", [](Runtime& self) { return self.backends->names(); })
      .def(
          "set_model_control", [](Runtime& self, py::object control) { self.door->set_control(std::move(control)); },
          py::arg("control"), "Who answers models that load and unload others: control(verb, arguments, reply).")
      .def(
          "load",
          [](Runtime& self, const std::string& name, const std::vector<py::dict>& lowered) {
            std::vector<model::ModelSpec> specs;
            for (const auto& one : lowered) specs.push_back(spec_from_dict(one));
            std::vector<engine::LoadFailure> failures;
            Status status;
            {
              py::gil_scoped_release release;
              status = self.engine.load(name, std::move(specs), &failures);
            }
            if (failures.empty()) check(status);
            py::dict why;
            for (const auto& failure : failures) why[py::int_(failure.version)] = to_exception(failure.why);
            return why;
          },
          py::arg("name"), py::arg("specs"),
          "Loads all versions of one model and swaps them in. Blocks. Returns {version: error} of those that failed, "
          "and then nothing has changed; raises ArgosyError when the engine is stopping.")
      .def(
          "unload",
          [](Runtime& self, const std::string& name) {
            Status status;
            {
              py::gil_scoped_release release;
              status = self.engine.unload(name);
            }
            check(status);
          },
          py::arg("name"), "Takes a model out of sight; what it had accepted finishes.")
      .def(
          "models",
          [](const Runtime& self) {
            py::list out;
            for (const auto& state : self.engine.list()) {
              out.append(py::make_tuple(state.name, state.version, state.health.ok() ? "" : state.health.message()));
            }
            return out;
          },
          "[(name, version, why it is not healthy or \"\")] of every loaded version.")
      .def(
          "statistics",
          [](const Runtime& self, const std::string& name, std::int64_t version) {
            py::list out;
            for (const auto& one : take(self.engine.statistics(name, version))) out.append(statistics_to_dict(one));
            return out;
          },
          py::arg("name") = "", py::arg("version") = -1)
      .def(
          "draining", [](const Runtime& self, const std::string& name) { return self.engine.draining(name); },
          py::arg("name"), "Whether a withdrawn version still answers what it had accepted.")
      .def("in_flight", [](const Runtime& self) { return self.engine.in_flight(); })
      .def("metrics_text", &Runtime::metrics_text, "The metrics in Prometheus text format.")
      .def("infer", &infer_blocking, py::arg("name"), py::arg("version"), py::arg("inputs"), py::kw_only(),
           py::arg("options"), "Runs one request and waits: a list of responses, each (outputs, parameters).")
      .def("infer_stream", &infer_stream, py::arg("name"), py::arg("version"), py::arg("inputs"), py::kw_only(),
           py::arg("options"), "Starts one request; iterate for its responses.")
      .def("infer_async", &infer_async, py::arg("name"), py::arg("version"), py::arg("inputs"), py::kw_only(),
           py::arg("options"), py::arg("done"),
           "Starts one request; done(responses, error) is called on another thread.")
      .def(
          "end_workers",
          [](Runtime& self, double seconds) {
            py::gil_scoped_release release;
            self.end_workers(std::chrono::duration_cast<Nanos>(std::chrono::duration<double>(seconds)));
          },
          py::arg("seconds"),
          "Model processes that are busy after `seconds`, loading included, are ended; none is started again.")
      .def(
          "stop",
          [](Runtime& self, double seconds) {
            py::gil_scoped_release release;
            return self.stop(std::chrono::duration_cast<Nanos>(std::chrono::duration<double>(seconds)));
          },
          py::arg("seconds") = 0.0, "Drains for at most `seconds`, then cancels the rest; True when all finished.");
}

}  // namespace argosy::python
