// CudaDevice's calls about memory of other processes.

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <cstring>

#include "base/log.h"
#include "device/cuda/cuda_device.h"
#include "device/cuda/driver.h"
#include "device/cuda/error.h"

namespace argosy::device {
namespace {

static_assert(sizeof(cudaIpcMemHandle_t) == sizeof(IpcHandle));

using AddressRange = CUresult (*)(CUdeviceptr*, std::size_t*, CUdeviceptr);

// The runtime does not tell how large an allocation is; the driver does.
Result<std::size_t> allocation_size(void* data, const std::string& call) {
  const auto found = driver_entry("cuMemGetAddressRange", call);
  if (!found.ok()) return found.status();
  CUdeviceptr base = 0;
  std::size_t size = 0;
  const CUresult result = reinterpret_cast<AddressRange>(*found)(&base, &size, reinterpret_cast<CUdeviceptr>(data));
  if (result != CUDA_SUCCESS) return internal_error(call + ": driver error " + std::to_string(result));
  return size - static_cast<std::size_t>(reinterpret_cast<CUdeviceptr>(data) - base);
}

}  // namespace

Result<IpcHandle> CudaDevice::export_ipc(std::byte* block) {
  if (auto status = make_current(); !status.ok()) return status;
  cudaIpcMemHandle_t native{};
  const cudaError_t error = cudaIpcGetMemHandle(&native, block);
  if (error == cudaErrorInvalidValue) {
    return invalid_argument(cuda_status(error, named("export of memory to other processes")).message());
  }
  if (error != cudaSuccess) return cuda_status(error, named("export of memory to other processes"));
  IpcHandle handle{};
  std::memcpy(handle.data(), &native, sizeof(native));
  return handle;
}

Result<IpcMemory> CudaDevice::open_ipc(const IpcHandle& handle) {
  if (auto status = make_current(); !status.ok()) return status;
  cudaIpcMemHandle_t native{};
  std::memcpy(&native, handle.data(), sizeof(native));
  void* data = nullptr;
  const cudaError_t error = cudaIpcOpenMemHandle(&data, native, cudaIpcMemLazyEnablePeerAccess);
  if (error == cudaErrorInvalidValue || error == cudaErrorInvalidResourceHandle ||
      error == cudaErrorMapBufferObjectFailed) {
    return invalid_argument(cuda_status(error, named("opening memory of another process")).message());
  }
  if (error != cudaSuccess) return cuda_status(error, named("opening memory of another process"));
  auto size = allocation_size(data, named("asking for the size of another process's memory"));
  if (!size.ok()) {
    close_ipc(static_cast<std::byte*>(data));
    return size.status();
  }
  return IpcMemory{static_cast<std::byte*>(data), *size};
}

void CudaDevice::close_ipc(std::byte* data) {
  cudaError_t error = cudaSetDevice(properties_.ordinal);
  if (error == cudaSuccess) error = cudaIpcCloseMemHandle(data);
  if (error == cudaSuccess || error == cudaErrorCudartUnloading) return;
  log(LogLevel::error, cuda_status(error, named("closing memory of another process")).message());
}

}  // namespace argosy::device
