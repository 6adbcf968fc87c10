#pragma once

// Parameter: one custom name and value of a request or response.
//
// Thread: a value; any.

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace argosy::infer {

struct Parameter {
  std::string name;
  std::variant<bool, std::int64_t, double, std::string> value;
  friend bool operator==(const Parameter&, const Parameter&) = default;
};
using Parameters = std::vector<Parameter>;

}  // namespace argosy::infer
