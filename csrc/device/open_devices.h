#pragma once

// open_devices: which of the GPUs that were found serve, and with how much memory.
//
// Each gets a pool of its own; pinned memory is one budget for all, half of it for
// received bytes and half for batches, so that clients who send much cannot keep a
// batch from being staged.
//
// Thread: the composition root's, once. What it returns is shared freely.

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "device/device.h"
#include "device/pool.h"

namespace argosy::device {

struct DeviceBudget {
  std::size_t pinned_bytes = 256u << 20;
  std::size_t device_bytes = 64u << 20;        // of each device not named below
  std::map<int, std::size_t> device_bytes_of;  // by ordinal
  double least_compute = 7.5;                  // compute capability; older GPUs are left alone
  bool peer_access = true;
};

struct OpenDevice {
  DevicePtr device;
  std::shared_ptr<Pool> memory;
};

struct OpenDevices {
  std::vector<OpenDevice> devices;      // by ordinal
  std::vector<std::string> left_alone;  // why, one sentence each
  std::shared_ptr<Pool> received;       // pinned; null without devices
  std::shared_ptr<Pool> batches;        // likewise
};

// invalid_argument: a budget for a GPU that is not there. Also the failures of
// Device::reaches().
Result<OpenDevices> open_devices(const std::vector<DevicePtr>& found, const DeviceBudget& budget);

}  // namespace argosy::device
