#pragma once

// Json: a value read from JSON text, for metadata, statistics and input files.
//
// Built for small documents outside the measured path; numbers keep their text so
// that 64-bit integers survive. Nesting deeper than 64 is refused.
// append_json_string writes one string literal.
//
// Thread: values; any.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace argosy::load {

struct Json {
  enum class Kind { null, boolean, number, string, array, object };

  Kind kind = Kind::null;
  bool boolean = false;
  std::string text;  // a string's value, or a number as it was written
  std::vector<Json> items;
  std::vector<std::pair<std::string, Json>> members;

  bool is(Kind k) const { return kind == k; }
  const Json* find(std::string_view name) const;  // nullptr: no such member, or not an object
  double number() const;                          // 0 when not a number
  std::int64_t integer() const;
  std::string_view string_or(std::string_view fallback) const { return is(Kind::string) ? text : fallback; }
};

Result<Json> parse_json(std::string_view text);
void append_json_string(std::string& to, std::string_view value);

}  // namespace argosy::load
