#pragma once

// HeaderPattern: which headers (or gRPC metadata) a request carries on to the model as
// parameters: a regular expression searched in the name, letters' case aside unless it
// begins with "(?-i)".
//
// Thread: immutable; any.

#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"
#include "infer/request.h"

namespace argosy::serve {

class HeaderPattern {
 public:
  HeaderPattern();  // matches nothing
  ~HeaderPattern();
  HeaderPattern(HeaderPattern&&) noexcept;
  HeaderPattern& operator=(HeaderPattern&&) noexcept;

  static Result<HeaderPattern> parse(const std::string& expression);  // "" matches nothing

  bool empty() const { return rule_ == nullptr; }
  bool matches(std::string_view name) const;

  // Adds the header to the request's parameters if it matches. invalid_argument: its
  // name is reserved.
  Status forward(std::string_view name, std::string_view value, infer::Request& request) const;

 private:
  struct Rule;
  std::unique_ptr<const Rule> rule_;
};

}  // namespace argosy::serve
