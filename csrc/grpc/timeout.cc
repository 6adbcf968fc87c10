#include "grpc/timeout.h"

#include <cstdint>

namespace argosy::grpc {

std::optional<Micros> parse_timeout(std::string_view text) {
  if (text.size() < 2 || text.size() > 9) return std::nullopt;
  std::int64_t value = 0;
  for (const char c : text.substr(0, text.size() - 1)) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  switch (text.back()) {
    case 'H': return Micros(value * 3'600'000'000);
    case 'M': return Micros(value * 60'000'000);
    case 'S': return Micros(value * 1'000'000);
    case 'm': return Micros(value * 1'000);
    case 'u': return Micros(value);
    case 'n': return Micros((value + 999) / 1'000);
    default: return std::nullopt;
  }
}

}  // namespace argosy::grpc
