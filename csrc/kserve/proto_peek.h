#pragma once

// proto_peek: what a ModelInferRequest is for, told from its first bytes, so that the
// rest can be received where its model wants to have it.
//
// A hint: the message is decoded as ever once it is whole, and may turn out to say
// something else. Encoders write fields in their order, the large tensors last; a message
// that does otherwise gives nothing.
//
// Thread: a pure function; any.

#include <cstddef>
#include <optional>
#include <string_view>

namespace argosy::kserve {

struct InferPeek {
  std::string_view model_name;  // of `begin`
  std::string_view model_version;
  std::size_t first_large = 0;  // where in the message the first large raw_input_contents begins
};

// `begin`: the first bytes of a message of `length`; `large`: bytes of a tensor that matters.
// Nothing: they do not reach as far, there is no such tensor, or they are nonsense.
std::optional<InferPeek> peek_model_infer(std::string_view begin, std::size_t length, std::size_t large);

}  // namespace argosy::kserve
