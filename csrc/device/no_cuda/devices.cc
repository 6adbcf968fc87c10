#include "device/device.h"

namespace argosy::device {

Result<std::vector<DevicePtr>> cuda_devices() { return std::vector<DevicePtr>{}; }

bool built_with_cuda() { return false; }

}  // namespace argosy::device
