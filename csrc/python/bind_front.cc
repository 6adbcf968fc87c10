#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <utility>

#include "python/bind.h"
#include "python/control_bridge.h"
#include "python/runtime.h"
#include "python/status_caster.h"
#include "serve/front.h"
#include "shm/regions.h"

namespace argosy::python {
namespace py = pybind11;

namespace {

serve::EndpointOptions endpoint(const py::dict& from) {
  return {.enabled = from["enabled"].cast<bool>(),
          .address = from["address"].cast<std::string>(),
          .port = from["port"].cast<std::uint16_t>(),
          .reuse_port = from["reuse_port"].cast<bool>()};
}

serve::TlsFiles tls(const py::dict& from) {
  return {.certificate = from["certificate"].cast<std::string>(),
          .key = from["key"].cast<std::string>(),
          .client_ca = from["client_ca"].cast<std::string>(),
          .mutual = from["mutual"].cast<bool>()};
}

std::vector<serve::RestrictedApi> restricted(const py::handle& from) {
  std::vector<serve::RestrictedApi> out;
  for (const auto item : from) {
    const auto [category, key, value] = item.cast<std::tuple<std::string, std::string, std::string>>();
    out.push_back({category, key, value});
  }
  return out;
}

serve::CompressionLevel level(const std::string& name) {
  if (name == "none") return serve::CompressionLevel::none;
  if (name == "low") return serve::CompressionLevel::low;
  if (name == "medium") return serve::CompressionLevel::medium;
  if (name == "high") return serve::CompressionLevel::high;
  raise(invalid_argument("response compression: expected none, low, medium or high, got '" + name + "'"));
}

serve::FrontOptions options_from(const py::dict& from) {
  const auto micros = [&](const char* name) { return Micros(from[name].cast<std::int64_t>()); };
  serve::FrontOptions out;
  out.http = endpoint(from["http"]);
  out.grpc = endpoint(from["grpc"]);
  out.metrics = endpoint(from["metrics"]);
  out.http_tls = tls(from["http_tls"]);
  out.grpc_tls = tls(from["grpc_tls"]);
  out.io_threads = from["io_threads"].cast<std::uint32_t>();
  out.limits.max_input_bytes = from["max_input_bytes"].cast<std::size_t>();
  out.grpc_settings.response_compression = level(from["response_compression"].cast<std::string>());
  out.grpc_settings.keepalive_time = micros("keepalive_time_us");
  out.grpc_settings.keepalive_timeout = micros("keepalive_timeout_us");
  out.grpc_settings.keepalive_without_calls = from["keepalive_without_calls"].cast<bool>();
  out.grpc_settings.max_pings_without_data = from["max_pings_without_data"].cast<std::uint32_t>();
  out.grpc_settings.min_ping_interval = micros("min_ping_interval_us");
  out.grpc_settings.max_ping_strikes = from["max_ping_strikes"].cast<std::uint32_t>();
  out.grpc_settings.max_connection_age = micros("max_connection_age_us");
  out.grpc_settings.max_connection_age_grace = micros("max_connection_age_grace_us");
  out.http_header_forward_pattern = from["http_header_forward_pattern"].cast<std::string>();
  out.grpc_header_forward_pattern = from["grpc_header_forward_pattern"].cast<std::string>();
  out.http_restricted = restricted(from["http_restricted"]);
  out.grpc_restricted = restricted(from["grpc_restricted"]);
  out.access_log = from["access_log"].cast<bool>();
  for (const auto item : from["proto_files"]) {
    const auto file = item.cast<py::dict>();
    out.grpc_settings.proto_files.push_back({.name = file["name"].cast<std::string>(),
                                             .dependencies = file["dependencies"].cast<std::vector<std::string>>(),
                                             .symbols = file["symbols"].cast<std::vector<std::string>>(),
                                             .services = file["services"].cast<std::vector<std::string>>(),
                                             .descriptor = std::string(file["descriptor"].cast<py::bytes>())});
  }
  return out;
}

// The front and what must outlive it, in order of construction.
struct BoundFront {
  BoundFront(const py::dict& options, std::shared_ptr<Runtime> with, py::object handler,
             std::shared_ptr<shm::Regions> shared)
      : runtime(std::move(with)),
        regions(std::move(shared)),
        control(runtime->python, std::move(handler)),
        front(options_from(options), runtime->engine, control, *runtime->metrics, runtime->clock,
              runtime->receive_pool(), regions.get()) {}
  ~BoundFront() {
    py::gil_scoped_release release;
    front.stop();
  }

  std::shared_ptr<Runtime> runtime;
  std::shared_ptr<shm::Regions> regions;  // null: clients may not share memory
  PythonControl control;
  serve::Front front;
};

}  // namespace

void bind_front(py::module_& m) {
  py::class_<BoundFront>(m, "Front", "The listeners: HTTP, gRPC and metrics, on native event loops.")
      .def(py::init<const py::dict&, std::shared_ptr<Runtime>, py::object, std::shared_ptr<shm::Regions>>(),
           py::arg("options"), py::arg("engine"), py::arg("handler"), py::arg("shared_memory") = nullptr)
      .def(
          "start",
          [](BoundFront& self) {
            Status status;
            {
              py::gil_scoped_release release;
              status = self.front.start();
            }
            check(status);
          },
          "Opens the endpoints; raises Unavailable when an address is taken.")
      .def("ports",
           [](const BoundFront& self) {
             py::dict out;
             if (self.front.http_port() != 0) out["http"] = self.front.http_port();
             if (self.front.grpc_port() != 0) out["grpc"] = self.front.grpc_port();
             if (self.front.metrics_port() != 0) out["metrics"] = self.front.metrics_port();
             return out;
           })
      .def(
          "set_state", [](BoundFront& self, bool live, bool ready) { self.front.set_state(live, ready); },
          py::arg("live"), py::arg("ready"))
      .def(
          "drain",
          [](BoundFront& self, double seconds) {
            py::gil_scoped_release release;
            return self.front.drain(self.runtime->clock.now() +
                                    std::chrono::duration_cast<Nanos>(std::chrono::duration<double>(seconds)));
          },
          py::arg("seconds"), "No new connections or requests; True when what ran has been answered in time.")
      .def("stop", [](BoundFront& self) {
        py::gil_scoped_release release;
        self.front.stop();
      });
}

}  // namespace argosy::python
