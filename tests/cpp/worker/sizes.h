#pragma once

// Sizes, in bytes, that tests of memory count in.

#include <cstddef>

namespace argosy::worker {

inline constexpr std::size_t kMega = 1u << 20;

}  // namespace argosy::worker
