#include "serve/header_pattern.h"

#include <algorithm>
#include <array>
#include <regex>

namespace argosy::serve {
namespace {

constexpr std::size_t kLongestName = 256;  // the matcher recurses once per character
constexpr std::array<std::string_view, 7> kReserved{"sequence_id", "sequence_start", "sequence_end",      "priority",
                                                    "timeout",     "headers",        "binary_data_output"};

bool reserved(std::string_view name) {
  return name.starts_with("triton_") || std::find(kReserved.begin(), kReserved.end(), name) != kReserved.end();
}

}  // namespace

struct HeaderPattern::Rule {
  std::regex expression;
};

HeaderPattern::HeaderPattern() = default;
HeaderPattern::~HeaderPattern() = default;
HeaderPattern::HeaderPattern(HeaderPattern&&) noexcept = default;
HeaderPattern& HeaderPattern::operator=(HeaderPattern&&) noexcept = default;

Result<HeaderPattern> HeaderPattern::parse(const std::string& expression) {
  HeaderPattern pattern;
  if (expression.empty()) return pattern;
  auto flags = std::regex::ECMAScript | std::regex::optimize | std::regex::icase;
  std::string_view text = expression;
  if (text.starts_with("(?-i)")) {
    flags &= ~std::regex::icase;
    text.remove_prefix(5);
  } else if (text.starts_with("(?i)")) {
    text.remove_prefix(4);
  }
  try {
    pattern.rule_ = std::make_unique<const Rule>(Rule{std::regex(text.begin(), text.end(), flags)});
  } catch (const std::regex_error& error) {
    return invalid_argument("header forward pattern '" + expression + "' is not a regular expression: " + error.what());
  }
  return pattern;
}

bool HeaderPattern::matches(std::string_view name) const {
  return rule_ && name.size() <= kLongestName && std::regex_search(name.begin(), name.end(), rule_->expression);
}

Status HeaderPattern::forward(std::string_view name, std::string_view value, infer::Request& request) const {
  if (!matches(name)) return {};
  if (reserved(name)) {
    return invalid_argument("Header '" + std::string(name) + "' is reserved for Triton usage and cannot be forwarded.");
  }
  request.parameters.push_back({std::string(name), std::string(value)});
  return {};
}

}  // namespace argosy::serve
