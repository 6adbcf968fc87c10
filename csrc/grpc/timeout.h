#pragma once

// The grpc-timeout header: at most eight digits and a unit.
//
// Thread: a pure function; any.

#include <optional>
#include <string_view>

#include "base/time.h"

namespace argosy::grpc {

// "250m" is 250 ms. Units: H M S m u n; nanoseconds round up to a microsecond. Nothing:
// the text is no timeout.
std::optional<Micros> parse_timeout(std::string_view text);

}  // namespace argosy::grpc
