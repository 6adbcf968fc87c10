#include "device/cuda/cuda_device.h"

#include <cuda_runtime_api.h>

#include "base/log.h"
#include "device/cuda/cuda_stream.h"
#include "device/cuda/error.h"

namespace argosy::device {
namespace {

// As nvidia-smi and NVML write it.
std::string uuid_text(const cudaUUID_t& uuid) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text = "GPU-";
  for (std::size_t i = 0; i < sizeof uuid.bytes; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    const auto byte = static_cast<unsigned char>(uuid.bytes[i]);
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

}  // namespace

Result<DevicePtr> CudaDevice::make(int ordinal) {
  cudaDeviceProp found{};
  const cudaError_t error = cudaGetDeviceProperties(&found, ordinal);
  if (error != cudaSuccess) return cuda_status(error, "properties of GPU " + std::to_string(ordinal));
  Properties properties{found.name,           ordinal,     found.totalGlobalMem,
                        found.major,          found.minor, found.multiProcessorCount,
                        uuid_text(found.uuid)};
  return DevicePtr(new CudaDevice(std::move(properties)));
}

std::string CudaDevice::named(const std::string& call) const {
  return call + " on GPU " + std::to_string(properties_.ordinal) + " (" + properties_.name + ")";
}

Status CudaDevice::make_current() {
  const cudaError_t error = cudaSetDevice(properties_.ordinal);
  return error == cudaSuccess ? Status() : cuda_status(error, named("making the device current"));
}

Result<MemoryInfo> CudaDevice::memory() {
  if (auto status = make_current(); !status.ok()) return status;
  MemoryInfo info;
  const cudaError_t error = cudaMemGetInfo(&info.free_bytes, &info.total_bytes);
  if (error != cudaSuccess) return cuda_status(error, named("asking for free memory"));
  return info;
}

Result<bool> CudaDevice::reaches(const Device& peer) {
  const int other = peer.properties().ordinal;
  if (&peer == this || other == properties_.ordinal) return true;
  int can = 0;
  cudaError_t error = cudaDeviceCanAccessPeer(&can, properties_.ordinal, other);
  if (error == cudaSuccess && can == 0) return false;
  if (error == cudaSuccess) error = cudaSetDevice(properties_.ordinal);
  if (error == cudaSuccess) error = cudaDeviceEnablePeerAccess(other, 0);
  if (error == cudaErrorPeerAccessAlreadyEnabled) {
    (void)cudaGetLastError();
    return true;
  }
  if (error != cudaSuccess) return cuda_status(error, named("reaching GPU " + std::to_string(other)));
  return true;
}

Result<std::byte*> CudaDevice::allocate(MemoryKind kind, std::size_t bytes) {
  if (auto status = make_current(); !status.ok()) return status;
  void* block = nullptr;
  const bool device = kind == MemoryKind::device;
  const cudaError_t error = device ? cudaMalloc(&block, bytes) : cudaHostAlloc(&block, bytes, cudaHostAllocPortable);
  if (error != cudaSuccess) {
    return cuda_status(
        error, named(std::string(device ? "device" : "pinned") + " memory of " + std::to_string(bytes) + " bytes"));
  }
  return static_cast<std::byte*>(block);
}

void CudaDevice::release(MemoryKind kind, std::byte* block) {
  const cudaError_t error = kind == MemoryKind::device ? cudaFree(block) : cudaFreeHost(block);
  // At process exit the runtime may be gone before the last block, and its memory with it.
  if (error == cudaSuccess || error == cudaErrorCudartUnloading) return;
  log(LogLevel::error, cuda_status(error, named("releasing memory")).message());
}

Result<std::unique_ptr<Stream>> CudaDevice::make_stream() { return CudaStream::make(properties_.ordinal); }

Result<EventPtr> CudaDevice::make_event() { return CudaEvent::make(properties_.ordinal); }

}  // namespace argosy::device
