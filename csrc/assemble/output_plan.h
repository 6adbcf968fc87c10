#pragma once

// OutputPlan: how a batch's outputs get from the device into one pinned buffer.
//
// What lies in the block that was reserved for outputs leaves in one copy, gaps
// included. What a model returned in memory of its own is packed by one kernel if it is
// small and not alone, and then leaves in one copy too; large outputs leave one by one.
//
// Decides only; nothing is copied here.
//
// Thread: pure functions; any.

#include <cstddef>
#include <span>
#include <vector>

#include "device/memory.h"
#include "device/pieces.h"

namespace argosy::assemble {

struct OutputPlan {
  struct Copy {
    const std::byte* from = nullptr;  // null: the pack block
    std::size_t at = 0;               // in the pinned buffer
    std::size_t bytes = 0;
  };
  struct Pack {
    const std::byte* from = nullptr;
    std::size_t at = 0;  // in the pack block
    std::size_t bytes = 0;
  };

  std::vector<Copy> copies;
  std::vector<Pack> packed;
  std::vector<std::size_t> begins;  // of each output in the pinned buffer
  std::size_t pack_bytes = 0;
  std::size_t host_bytes = 0;
};

bool lies_in(const device::Memory& memory, std::span<const std::byte> block);

// `reserved`: the block outputs were reserved in, empty if none was. Outputs from
// `direct_bytes` on are not worth packing.
OutputPlan plan_outputs(std::span<const device::Memory> outputs, std::span<const std::byte> reserved,
                        std::size_t direct_bytes);

}  // namespace argosy::assemble
