#include <cuda_runtime_api.h>

#include "device/cuda/cuda_device.h"
#include "device/cuda/error.h"

namespace argosy::device {

Result<std::vector<DevicePtr>> cuda_devices() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  // No GPU; or no driver, which the runtime calls an insufficient one.
  if (error == cudaErrorNoDevice || error == cudaErrorInsufficientDriver || error == cudaErrorStubLibrary) {
    (void)cudaGetLastError();
    return std::vector<DevicePtr>{};
  }
  if (error != cudaSuccess) return cuda_status(error, "looking for GPUs");
  std::vector<DevicePtr> devices;
  for (int ordinal = 0; ordinal < count; ++ordinal) {
    auto device = CudaDevice::make(ordinal);
    if (!device.ok()) return device.status();
    devices.push_back(*std::move(device));
  }
  return devices;
}

bool built_with_cuda() { return true; }

}  // namespace argosy::device
