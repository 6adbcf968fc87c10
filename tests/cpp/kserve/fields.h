#pragma once

// Short ways to write protobuf messages in tests.

#include <cstdint>
#include <string>
#include <string_view>

#include "kserve/wire.h"

namespace argosy::kserve {

inline std::string field(std::uint32_t number, std::string_view body) {
  std::string text;
  WireWriter(text).bytes(number, body);
  return text;
}

}  // namespace argosy::kserve
