// argosy_gpu_check: the device room and the assembler on a real GPU. Exits 0 when all
// holds or there is no device (3 with --require, where one is expected), 1 otherwise.

#include <cstring>

#include "check.h"

namespace {

using namespace argosy;

int failed_of(const std::vector<gpu::Named>& checks, const device::DevicePtr& device) {
  int failed = 0;
  for (const auto& one : checks) {
    gpu::Check check(device);
    one.run(check);
    std::printf("  %s: %s\n", check.failures() == 0 ? "ok" : "FAILED", one.name);
    failed += check.failures() == 0 ? 0 : 1;
  }
  return failed;
}

}  // namespace

int main(int argc, char** argv) {
  const bool required = argc > 1 && std::strcmp(argv[1], "--require") == 0;
  int failed = failed_of(gpu::error_checks(), nullptr);
  const auto devices = device::cuda_devices();
  if (!devices.ok()) {
    std::printf("GPU checks: %s\n", devices.status().message().c_str());
    return 1;
  }
  if (devices->empty()) {
    std::printf("GPU checks: no device (no GPU or no driver); the rest is skipped\n");
    return failed != 0 ? 1 : required ? 3 : 0;
  }
  const auto& device = devices->front();
  std::printf("GPU checks on %s, compute capability %d.%d\n", device->properties().name.c_str(),
              device->properties().compute_major, device->properties().compute_minor);
  failed += failed_of(gpu::device_checks(), device);
  failed += failed_of(gpu::assembler_checks(), device);
  std::printf("GPU checks: %d failed\n", failed);
  return failed == 0 ? 0 : 1;
}
