#include "check.h"
#include "device/cuda/error.h"

namespace argosy::gpu {
namespace {

void errors_become_statuses(Check& check) {
  const auto is = [&](cudaError_t error, const Status& expected) {
    const Status got = device::cuda_status(error, "copy on GPU 0");
    check.expect(got == expected, "got '" + got.message() + "', expected '" + expected.message() + "'");
  };
  is(cudaSuccess, {});
  is(cudaErrorMemoryAllocation, resource_exhausted("copy on GPU 0: out of memory (cudaErrorMemoryAllocation)"));
  is(cudaErrorInvalidValue, internal_error("copy on GPU 0: invalid argument (cudaErrorInvalidValue)"));
  is(cudaErrorIllegalAddress,
     internal_error("copy on GPU 0: an illegal memory access was encountered (cudaErrorIllegalAddress); this process "
                    "can use the GPU again only after a restart"));
}

}  // namespace

std::vector<Named> error_checks() { return {{"errors become statuses", errors_become_statuses}}; }

}  // namespace argosy::gpu
