#include "device/cuda/driver.h"

#include <cuda_runtime_api.h>

#include "device/cuda/error.h"

namespace argosy::device {

Result<void*> driver_entry(const char* name, const std::string& call) {
  void* found = nullptr;
  cudaDriverEntryPointQueryResult known = cudaDriverEntryPointSymbolNotFound;
  const cudaError_t error = cudaGetDriverEntryPointByVersion(name, &found, 12000, cudaEnableDefault, &known);
  if (error != cudaSuccess) return cuda_status(error, call);
  if (known != cudaDriverEntryPointSuccess || found == nullptr) {
    return internal_error(call + ": the driver has no " + name);
  }
  return found;
}

}  // namespace argosy::device
