#pragma once

// Both ends of a ring in one process.

#include <cstdint>
#include <span>
#include <string>

#include "worker/ring.h"
#include "worker/shared_memory.h"

namespace argosy::worker {

inline constexpr std::uint32_t kRingBytes = 1024;

struct Ends {
  SharedMemory memory = *SharedMemory::create("ring test", kPage);
  RingPlace place{memory.data(), kRingBytes};
  RingWriter writer{place};
  RingReader reader{place};
};

inline std::span<const std::byte> bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

}  // namespace argosy::worker
