#pragma once

// DeviceModel: an instance whose work is enqueued on a stream, not run. It is given
// inputs in device memory and says where its outputs will be; several of its batches are
// under way at a time, and somebody else waits for them.
//
// Thread: its instance's own.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "device/device.h"

namespace argosy::backend {

// Where a model may put a batch's outputs.
class OutputMemory {
 public:
  virtual ~OutputMemory() = default;
  // Places of these sizes in device memory, for work on the stream. invalid_argument: not
  // for the first time in this batch. May block while other batches hold the memory.
  virtual Result<std::vector<std::byte*>> reserve(std::span<const std::size_t> bytes) = 0;
};

struct DeviceSettings {
  // Ascending: a batch runs with the next of these numbers of rows, zeros behind its own.
  // Empty, or beyond the last: as they come.
  std::vector<std::uint32_t> allowed_rows;
  std::uint32_t depth = 3;  // batches under way at a time, at least 1
};

class DeviceModel {
 public:
  virtual ~DeviceModel() = default;
  virtual DeviceSettings settings() const { return {}; }  // asked once

  // batch.inputs lie on the device, with batch.run_rows rows. Enqueues on `stream` and
  // sets batch.outputs: in memory from `memory`, in device memory that the tensor owns, or
  // in host memory that is ready now. Nothing here may wait for the device.
  virtual Status enqueue(device::Stream& stream, Batch& batch, OutputMemory& memory) = 0;
};

}  // namespace argosy::backend
