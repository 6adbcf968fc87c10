#pragma once

// SharedTensors in memory of a GPU: one block, exported to the server by its handle.
//
// What a model leaves there is read back only to be compared, one copy for each answer
// that has an expectation.
//
// Thread: as SharedTensors.

#include <memory>
#include <string_view>
#include <vector>

#include "device/device.h"
#include "load/shared_tensors.h"

namespace argosy::load {

// "0", "1", ...: a GPU by its number. "host": the processor stands for GPU 0, as it may in a
// server. unsupported: a build without CUDA, or no such GPU; the text names the flags.
Result<device::DevicePtr> find_gpu(std::string_view name);

Result<std::unique_ptr<SharedTensors>> gpu_tensors(device::DevicePtr device, const std::vector<Sample>& samples,
                                                   const ModelCard& card, std::size_t output_bytes);

}  // namespace argosy::load
