#include "python/devices.h"

#include <vector>

#include "python/status_caster.h"

namespace argosy::python {
namespace py = pybind11;

device::OpenDevices open_named_devices(const std::string& name, device::DeviceBudget budget) {
  if (name == "host") {
    budget.least_compute = 0;
    return take(device::open_devices({device::host_device()}, budget));
  }
  if (name != "cuda") raise(invalid_argument("devices: expected 'cuda' or 'host', got '" + name + "'"));
  const auto found = take(device::cuda_devices());
  if (found.empty()) budget.device_bytes_of.clear();  // start scripts name pools on any machine
  return take(device::open_devices(found, budget));
}

py::list devices_to_list(const device::OpenDevices& open) {
  py::list all;
  for (const auto& one : open.devices) {
    const device::Properties& properties = one.device->properties();
    py::dict item;
    item["device"] = properties.ordinal;
    item["name"] = properties.name;
    item["memory_bytes"] = properties.memory_bytes;
    item["compute_capability"] =
        std::to_string(properties.compute_major) + "." + std::to_string(properties.compute_minor);
    item["processors"] = properties.processors;
    item["pool_bytes"] = one.memory->statistics().limit_bytes;
    all.append(item);
  }
  return all;
}

}  // namespace argosy::python
