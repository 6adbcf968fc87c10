#pragma once

// busy: a kernel that computes for a while on all of the device, standing for a model.
//
// Thread: as the stream's.

#include <cstddef>

namespace argosy::gpu {

// Enqueues `rounds` multiply-adds per thread over `bytes` at `data`, which keep their
// values. False: the launch failed.
bool enqueue_busy(void* stream, std::byte* data, std::size_t bytes, unsigned rounds);

}  // namespace argosy::gpu
