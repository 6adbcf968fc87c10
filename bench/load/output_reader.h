#pragma once

// OutputReader: one sending thread's view of the memory where answers leave their first
// outputs, when answers do not carry them.
//
// Thread: one at a time; one object for each sending thread.

#include <cstddef>
#include <string_view>

#include "base/status.h"

namespace argosy::load {

class OutputReader {
 public:
  virtual ~OutputReader() = default;
  // Of the first output of sample `which`: the first `bytes`, or all there is room for.
  // Good until the next call.
  virtual Result<std::string_view> first(std::size_t which, std::size_t bytes) = 0;
};

}  // namespace argosy::load
