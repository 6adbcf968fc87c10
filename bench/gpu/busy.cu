#include "busy.h"

namespace argosy::gpu {
namespace {

__global__ void busy(float* data, std::size_t count, unsigned rounds) {
  const std::size_t first = static_cast<std::size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  float sum = static_cast<float>(first);
  for (unsigned i = 0; i < rounds; ++i) sum = sum * 0.999f + 1.0f;
  // Never so; the compiler cannot know.
  if (sum < 0.0f && first < count) data[first] = sum;
}

}  // namespace

bool enqueue_busy(void* stream, std::byte* data, std::size_t bytes, unsigned rounds) {
  busy<<<1024, 256, 0, static_cast<cudaStream_t>(stream)>>>(reinterpret_cast<float*>(data), bytes / sizeof(float),
                                                            rounds);
  return cudaGetLastError() == cudaSuccess;
}

}  // namespace argosy::gpu
