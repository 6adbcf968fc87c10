#pragma once

// HostMemory: what stands for device memory where the processor stands for a GPU: blocks
// of pages of their own, so that another process can be given one, as a GPU's can.
//
// A block becomes shared pages when it is first exported, and a handle names the process
// and its descriptor. Whoever opens it sees to it that the pages cannot be taken away
// again. For servers opened with devices="host", their clients and tests.
//
// Thread: any.

#include <cstddef>
#include <map>

#include "base/guarded.h"
#include "device/device.h"

namespace argosy::device {

class HostMemory {
 public:
  HostMemory() = default;
  ~HostMemory();
  HostMemory(const HostMemory&) = delete;
  HostMemory& operator=(const HostMemory&) = delete;

  Result<std::byte*> allocate(std::size_t bytes);
  void release(std::byte* block);

  // Nobody may write to the block meanwhile.
  Result<IpcHandle> export_ipc(std::byte* block);
  Result<IpcMemory> open_ipc(const IpcHandle& handle);
  void close_ipc(std::byte* data);

 private:
  struct Block {
    std::size_t bytes = 0;
    int descriptor = -1;  // of what is exported
  };
  using Blocks = std::map<std::byte*, Block>;

  static void drop(Blocks& blocks, std::byte* data);

  Guarded<Blocks> own_;
  Guarded<Blocks> opened_;
};

}  // namespace argosy::device
