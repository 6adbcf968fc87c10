#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "device/device.h"
#include "python/bind.h"
#include "python/runtime.h"
#include "python/status_caster.h"
#include "shm/regions.h"

namespace argosy::python {
namespace py = pybind11;

namespace {

shm::Kind kind_named(const std::string& name) {
  if (name == "system") return shm::Kind::system;
  if (name == "cuda") return shm::Kind::cuda;
  raise(invalid_argument("kind of shared memory: expected system or cuda, got '" + name + "'"));
}

py::dict to_python(const shm::RegionStatus& region) {
  py::dict out;
  out["name"] = region.name;
  if (region.kind == shm::Kind::system) {
    out["key"] = region.key;
    out["offset"] = region.offset;
  } else {
    out["device_id"] = region.device_id;
  }
  out["byte_size"] = region.byte_size;
  return out;
}

}  // namespace

void bind_shm(py::module_& m) {
  using Regions = shm::Regions;
  py::class_<Regions, std::shared_ptr<Regions>>(m, "SharedMemory", "Memory that clients have registered, by name.")
      .def(py::init([](const Runtime& engine) {
             std::vector<device::DevicePtr> devices;
             for (const auto& one : engine.devices.devices) devices.push_back(one.device);
             return std::make_shared<Regions>(std::move(devices));
           }),
           py::arg("engine"), "Also of the GPUs that the engine uses.")
      .def(
          "register_system",
          [](Regions& self, const std::string& name, const std::string& key, std::uint64_t offset, std::uint64_t size) {
            Status status;
            {
              py::gil_scoped_release release;
              status = self.register_system(name, key, offset, size);
            }
            check(status);
          },
          py::arg("name"), py::arg("key"), py::arg("offset"), py::arg("byte_size"))
      .def(
          "register_cuda",
          [](Regions& self, const std::string& name, const std::string& handle, std::int64_t device,
             std::uint64_t size) {
            Status status;
            {
              py::gil_scoped_release release;
              status = self.register_cuda(name, std::as_bytes(std::span(handle)), device, size);
            }
            check(status);
          },
          py::arg("name"), py::arg("handle"), py::arg("device_id"), py::arg("byte_size"))
      .def(
          "unregister",
          [](Regions& self, const std::string& kind, const std::string& name) {
            const shm::Kind which = kind_named(kind);
            py::gil_scoped_release release;
            if (name.empty()) return self.unregister_all(which);
            self.unregister(which, name);
          },
          py::arg("kind"), py::arg("name") = "", "Without a name: all of the kind.")
      .def(
          "status",
          [](const Regions& self, const std::string& kind, const std::string& name) {
            py::list out;
            if (!name.empty()) {
              out.append(to_python(take(self.status(kind_named(kind), name))));
              return out;
            }
            for (const shm::RegionStatus& region : self.list(kind_named(kind))) out.append(to_python(region));
            return out;
          },
          py::arg("kind"), py::arg("name") = "", "Raises NotFound for a name that is unknown or of the other kind.");
}

}  // namespace argosy::python
