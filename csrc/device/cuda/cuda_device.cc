#include "device/cuda/cuda_device.h"

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <array>
#include <cstring>

#include "base/log.h"
#include "device/cuda/cuda_stream.h"
#include "device/cuda/driver.h"
#include "device/cuda/error.h"
#include "device/gpu_uuid.h"

namespace argosy::device {
namespace {

using GetDevice = CUresult (*)(CUdevice*, int);
using GetUuid = CUresult (*)(CUuuid*, CUdevice);

// Of a GPU that is partitioned the driver gives the part's own, and the runtime's
// properties do not say whose they have.
Result<std::array<unsigned char, 16>> uuid_octets(int ordinal) {
  const std::string call = "uuid of GPU " + std::to_string(ordinal);
  const auto get_device = driver_entry("cuDeviceGet", call);
  if (!get_device.ok()) return get_device.status();
  const auto get_uuid = driver_entry("cuDeviceGetUuid", call);
  if (!get_uuid.ok()) return get_uuid.status();
  CUdevice device = 0;
  CUuuid uuid{};
  CUresult result = reinterpret_cast<GetDevice>(*get_device)(&device, ordinal);
  if (result == CUDA_SUCCESS) result = reinterpret_cast<GetUuid>(*get_uuid)(&uuid, device);
  if (result != CUDA_SUCCESS) return internal_error(call + ": driver error " + std::to_string(result));
  std::array<unsigned char, 16> octets{};
  static_assert(sizeof uuid.bytes == octets.size());
  std::memcpy(octets.data(), uuid.bytes, octets.size());
  return octets;
}

}  // namespace

Result<DevicePtr> CudaDevice::make(int ordinal) {
  cudaDeviceProp found{};
  const cudaError_t error = cudaGetDeviceProperties(&found, ordinal);
  if (error != cudaSuccess) return cuda_status(error, "properties of GPU " + std::to_string(ordinal));
  const auto octets = uuid_octets(ordinal);
  if (!octets.ok()) return octets.status();
  Properties properties{found.name,
                        ordinal,
                        found.totalGlobalMem,
                        found.major,
                        found.minor,
                        found.multiProcessorCount,
                        gpu_uuid(*octets, found.name)};
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
