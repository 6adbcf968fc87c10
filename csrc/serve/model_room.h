#pragma once

// model_room: memory for a large request that is just arriving, where the model that it
// names can use its tensors without a copy.
//
// A hint and no promise: a model without a place of its own, one whose place is full, an
// unknown one and a small request get none, and are received like everything else.
//
// Thread: any.

#include <cstddef>
#include <string_view>

#include "base/bytes.h"
#include "serve/services.h"

namespace argosy::serve {

inline constexpr std::size_t kLargeTensor = 64u << 10;  // bytes; of less a copy costs little

// `size` bytes of which the one at `aligned` has a 64-byte aligned address. Empty: none.
Buffer model_room(const Services& services, std::string_view model, std::string_view version, std::size_t size,
                  std::size_t aligned);

}  // namespace argosy::serve
