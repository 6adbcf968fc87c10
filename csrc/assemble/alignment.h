#pragma once

// alignment: where an input or output begins in the block that holds a whole batch.
//
// Thread: constants.

#include <cstddef>

namespace argosy::assemble {

inline constexpr std::size_t kAlignment = 256;  // bytes; what device allocators promise

constexpr std::size_t aligned(std::size_t at) { return (at + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace argosy::assemble
