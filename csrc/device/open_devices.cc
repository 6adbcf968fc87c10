#include "device/open_devices.h"

#include <algorithm>
#include <cstdio>

namespace argosy::device {
namespace {

constexpr const char* kPinnedFlag = "--pinned-memory-pool-byte-size";

std::string short_number(double value) {
  char text[16];
  std::snprintf(text, sizeof text, "%.1f", value);
  return text;
}

// In tenths, because 7.5 has no exact sum.
int tenths(double compute) { return static_cast<int>(compute * 10 + 0.5); }

Status check_names(const std::vector<DevicePtr>& found, const DeviceBudget& budget) {
  for (const auto& [ordinal, bytes] : budget.device_bytes_of) {
    const bool known = std::any_of(found.begin(), found.end(), [wanted = ordinal](const DevicePtr& device) {
      return device->properties().ordinal == wanted;
    });
    if (known) continue;
    return invalid_argument("a memory pool of " + std::to_string(bytes) + " bytes is set for GPU " +
                            std::to_string(ordinal) + ", and this server has " + std::to_string(found.size()) +
                            (found.size() == 1 ? " GPU" : " GPUs"));
  }
  return {};
}

}  // namespace

Result<OpenDevices> open_devices(const std::vector<DevicePtr>& found, const DeviceBudget& budget) {
  if (auto status = check_names(found, budget); !status.ok()) return status;
  OpenDevices open;
  for (const DevicePtr& device : found) {
    const Properties& properties = device->properties();
    if (properties.compute_major * 10 + properties.compute_minor < tenths(budget.least_compute)) {
      open.left_alone.push_back("GPU " + std::to_string(properties.ordinal) + " (" + properties.name +
                                ") has compute capability " + std::to_string(properties.compute_major) + "." +
                                std::to_string(properties.compute_minor) + ", expected at least " +
                                short_number(budget.least_compute));
      continue;
    }
    const auto named = budget.device_bytes_of.find(properties.ordinal);
    const std::size_t bytes = named == budget.device_bytes_of.end() ? budget.device_bytes : named->second;
    const std::string flag = "--cuda-memory-pool-byte-size=" + std::to_string(properties.ordinal) + ":<bytes>";
    open.devices.push_back({device, Pool::make(device, MemoryKind::device, {bytes, false, flag})});
  }
  if (budget.peer_access) {
    for (const OpenDevice& one : open.devices) {
      for (const OpenDevice& other : open.devices) {
        if (&one == &other) continue;
        if (auto reached = one.device->reaches(*other.device); !reached.ok()) return reached.status();
      }
    }
  }
  if (!open.devices.empty()) {
    // Pinned through any device, memory can be read by all of them.
    const DevicePtr& any = open.devices.front().device;
    const std::size_t received = budget.pinned_bytes / 2;
    open.received = Pool::make(any, MemoryKind::pinned, {received, false, kPinnedFlag});
    open.batches = Pool::make(any, MemoryKind::pinned, {budget.pinned_bytes - received, false, kPinnedFlag});
  }
  return open;
}

}  // namespace argosy::device
