#include "device/cuda/error.h"

namespace argosy::device {
namespace {

// After these every later call fails too.
bool spoils_the_context(cudaError_t error) {
  switch (error) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchFailure:
    case cudaErrorLaunchTimeout:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorIllegalInstruction:
    case cudaErrorHardwareStackError:
    case cudaErrorAssert:
    case cudaErrorECCUncorrectable:
    case cudaErrorDevicesUnavailable: return true;
    default: return false;
  }
}

}  // namespace

Status cuda_status(cudaError_t error, const std::string& call) {
  if (error == cudaSuccess) return {};
  (void)cudaGetLastError();  // else the next launch would report this one again
  const std::string what = call + ": " + cudaGetErrorString(error) + " (" + cudaGetErrorName(error) + ")";
  if (error == cudaErrorMemoryAllocation) return resource_exhausted(what);
  if (spoils_the_context(error))
    return internal_error(what + "; this process can use the GPU again only after a restart");
  return internal_error(what);
}

}  // namespace argosy::device
