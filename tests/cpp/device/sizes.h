#pragma once

// The smallest block that a pool gives, in bytes.

#include <cstddef>

namespace argosy::device {

inline constexpr std::size_t kPage = 4096;

}  // namespace argosy::device
