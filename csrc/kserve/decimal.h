#pragma once

// decimal: numbers to shortest round-trip decimal text and back, at the speed large
// JSON tensors need.
//
// Text is what V2 servers print: "1.0", "0.10000000149011612", "1e-7", "NaN",
// "Infinity". Finite results are exact: the shortest digits that read back as the
// same double, and of those the closest.
//
// Thread: pure functions; any.

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace argosy::kserve {

inline constexpr std::size_t kLongestDouble = 64;  // bytes write_double() may touch; it writes in whole blocks

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Writes `value` and returns the end.
char* write_double(char* to, double value);

// `token` is a JSON number or one of NaN, Inf, Infinity with a sign. False: too large.
bool parse_json_double(std::string_view token, double& value);

// Reads one JSON number at `p` (no literals) and returns its end; null when there is
// none. `value` is the float nearest to the double the text means; infinite when that
// is beyond the type.
const char* read_float(const char* p, const char* end, float& value);
const char* read_double(const char* p, const char* end, double& value);

}  // namespace argosy::kserve
