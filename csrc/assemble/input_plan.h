#pragma once

// InputPlan: where each byte of a batch's inputs goes, and by which way.
//
// All inputs of a batch share one device block. What is small or lies in ordinary
// memory is gathered by the host into a pinned staging buffer that mirrors a stretch
// of that block, one copy per stretch: a batch of small inputs is one copy in all.
// What is large and pinned is copied straight from where it was received to its rows,
// and what is on the device already is moved there by one kernel.
//
// Decides only; nothing is copied here.
//
// Thread: pure functions; any.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "device/memory.h"

namespace argosy::assemble {

// One input of a batch: what each request brought, in order.
struct InputParts {
  std::vector<device::Memory> parts;
  // Padding behind the last part, with zeros, up to this many bytes; 0: none.
  std::size_t padded_bytes = 0;
  // Padding inside: part i has rows[i] rows, each widened to `row_bytes` with zeros.
  // 0: the parts stand one right behind the other.
  std::size_t row_bytes = 0;
  std::vector<std::uint32_t> rows;
};

struct InputPlan {
  // Into the staging buffer, by the host: bytes, or `zeros` of them.
  struct Stage {
    device::Memory from;
    std::size_t at = 0;
    std::size_t zeros = 0;
  };
  // From the staging buffer to the block.
  struct Stretch {
    std::size_t staged_at = 0;
    std::size_t at = 0;
    std::size_t bytes = 0;
  };
  struct Part {
    device::Memory from;
    std::size_t at = 0;
  };
  struct Zeros {
    std::size_t at = 0;
    std::size_t bytes = 0;
  };
  struct Place {
    std::size_t at = 0;
    std::size_t bytes = 0;
  };

  std::vector<Stage> staged;
  std::vector<Stretch> stretches;
  std::vector<Part> direct;     // pinned, straight to the block
  std::vector<Part> on_device;  // by the kernel
  std::vector<Zeros> zeros;     // in the block, where no stretch covers them
  std::vector<Place> inputs;    // in the block, one per input
  std::size_t staging_bytes = 0;
  std::size_t block_bytes = 0;
};

struct InputRules {
  // From here on a pinned part is copied on its own: its copy call costs less than
  // moving it once more through the processor's caches.
  std::size_t direct_bytes = 64u << 10;
  int device = 0;  // whose memory counts as "on the device"
};

// invalid_argument: a part is larger than its place. unsupported: a part lies on
// another device.
Result<InputPlan> plan_inputs(std::span<const InputParts> inputs, const InputRules& rules);

}  // namespace argosy::assemble
