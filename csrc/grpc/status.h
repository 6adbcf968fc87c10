#pragma once

// How a call ends: gRPC's status numbers, and the grpc-message trailer.
//
// Thread: values; any.

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace argosy::grpc {

enum class Code : std::uint8_t {
  ok = 0,
  cancelled = 1,
  unknown = 2,
  invalid_argument = 3,
  deadline_exceeded = 4,
  not_found = 5,
  already_exists = 6,
  permission_denied = 7,
  resource_exhausted = 8,
  unimplemented = 12,
  internal = 13,
  unavailable = 14,
};

Code code_of(StatusCode code);

std::string_view to_digits(Code code);  // "0".."14"; a literal

// The percent-encoding of grpc-message: everything but printable ASCII, and '%' itself.
std::string percent_encode(std::string_view text);
std::string percent_decode(std::string_view text);

// The value of grpc-message: encoded, and without its middle when it is long. Clients take 8 KB of headers and fail
// the call in words of their own, or not at all, where there is more.
constexpr std::size_t kLongestMessage = 6u << 10;
std::string message_value(std::string_view text);

}  // namespace argosy::grpc
