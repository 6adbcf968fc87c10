#include "load/shared_layout.h"

#include <cstring>

namespace argosy::load {
namespace {

constexpr std::size_t kAlignment = 64;

}  // namespace

Result<SharedLayout> lay_out(const std::string& region, const std::vector<Sample>& samples, const ModelCard& card,
                             std::size_t output_bytes) {
  SharedLayout layout;
  const auto place = [&](std::vector<SharedPlace>& to, const std::string& name, std::size_t bytes) {
    to.push_back({name, layout.bytes, bytes});
    layout.bytes = (layout.bytes + bytes + kAlignment - 1) / kAlignment * kAlignment;
  };
  for (const Sample& sample : samples) {
    SharedRequest& request = layout.requests.emplace_back();
    request.region = region;
    for (const Tensor& input : sample.inputs) {
      if (input.bytes.empty()) return unsupported("input '" + input.name + "' is empty; shared memory cannot hold it");
      place(request.inputs, input.name, input.bytes.size());
    }
  }
  layout.input_bytes = layout.bytes;
  for (SharedRequest& request : layout.requests) {
    for (const TensorSpec& output : card.outputs) place(request.outputs, output.name, output_bytes);
  }
  return layout;
}

void fill_inputs(const SharedLayout& layout, const std::vector<Sample>& samples, char* block) {
  for (std::size_t i = 0; i < samples.size(); ++i) {
    for (std::size_t j = 0; j < samples[i].inputs.size(); ++j) {
      const std::string& bytes = samples[i].inputs[j].bytes;
      std::memcpy(block + layout.requests[i].inputs[j].offset, bytes.data(), bytes.size());
    }
  }
}

}  // namespace argosy::load
