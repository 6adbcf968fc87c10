#pragma once

// SharedLayout: where in one block of shared memory the tensors of all samples lie: all
// inputs, so that one copy fills them, and then room for the outputs.
//
// Requests of one sample share their outputs' place, as they share their inputs: a
// deterministic model writes the same bytes there however many are in flight.
//
// Thread: values; any.

#include <cstddef>
#include <string>
#include <vector>

#include "base/status.h"
#include "load/exchange.h"
#include "load/model_card.h"
#include "load/samples.h"

namespace argosy::load {

struct SharedLayout {
  std::vector<SharedRequest> requests;  // one for each sample
  std::size_t input_bytes = 0;
  std::size_t bytes = 0;
};

// `output_bytes`: room for each output. unsupported: an input is empty.
Result<SharedLayout> lay_out(const std::string& region, const std::vector<Sample>& samples, const ModelCard& card,
                             std::size_t output_bytes);

// Writes the inputs to the front of the block.
void fill_inputs(const SharedLayout& layout, const std::vector<Sample>& samples, char* block);

}  // namespace argosy::load
