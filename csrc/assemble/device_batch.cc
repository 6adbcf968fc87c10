#include "assemble/device_batch.h"

#include <algorithm>
#include <string>

#include "assemble/batch_inputs.h"
#include "assemble/gather.h"
#include "model/ragged.h"
#include "tensor/rows.h"

namespace argosy::assemble {

using tensor::Tensor;

std::uint32_t padded_rows(const ShapeRules& rules, std::uint32_t rows) {
  const auto found = std::lower_bound(rules.allowed_rows.begin(), rules.allowed_rows.end(), rows);
  return found == rules.allowed_rows.end() ? rows : *found;
}

Result<std::vector<InputParts>> device_parts(const model::ModelSpec& spec, backend::Batch& batch,
                                             const ShapeRules& rules) {
  begin_batch(spec, batch);
  // Tensors about a batch, and what is cut by elements, count what there is: no zeros behind those.
  const bool pads = spec.batches() && !model::is_ragged(spec);
  const std::uint32_t rows = pads ? padded_rows(rules, batch.rows) : batch.rows;
  batch.run_rows = rows;
  std::vector<InputParts> inputs(spec.inputs.size() + spec.batch_inputs.size());
  batch.inputs.clear();
  batch.inputs.reserve(inputs.size());
  for (std::size_t i = 0; i < spec.inputs.size(); ++i) {
    const Tensor& first = batch.requests.front()->inputs[i];
    if (first.dtype == tensor::DType::bytes && !first.name.empty()) {
      return unsupported("model '" + spec.name + "', input '" + first.name +
                         "': BYTES tensors cannot be copied to a device");
    }
    if (std::any_of(batch.requests.begin(), batch.requests.end(),
                    [&](const auto& request) { return request->inputs[i].name.empty(); })) {
      batch.inputs.emplace_back();  // the others have none either
      continue;
    }
    Tensor joined{spec.inputs[i].name, first.dtype, first.shape, {}};
    std::int64_t elements = 0;
    inputs[i].parts.reserve(batch.requests.size());
    for (const auto& request : batch.requests) {
      inputs[i].parts.push_back(request->inputs[i].data);
      elements += request->inputs[i].shape.element_count().value_or(0);
    }
    if (spec.batches() && spec.inputs[i].ragged) {
      joined.shape = tensor::Shape{elements};
    } else if (spec.batches()) {
      joined.shape.set(0, rows);
      inputs[i].padded_bytes = tensor::byte_size(joined.dtype, joined.shape).value_or(0);
    }
    batch.inputs.push_back(std::move(joined));
  }
  for (std::size_t i = 0; i < spec.batch_inputs.size(); ++i) {
    auto made = describe(spec, spec.batch_inputs[i], batch.requests);
    if (!made.ok()) return made.status();
    inputs[spec.inputs.size() + i].parts = {std::move(made->data)};
    batch.inputs.push_back(*std::move(made));
  }
  return inputs;
}

void set_input_data(backend::Batch& batch, std::span<const device::Memory> memory) {
  for (std::size_t i = 0; i < batch.inputs.size(); ++i) {
    if (!batch.inputs[i].name.empty()) batch.inputs[i].data = memory[i];
  }
}

void drop_padding(const model::ModelSpec& spec, backend::Batch& batch) {
  const std::uint32_t ran = batch.run_rows;
  if (!spec.batches() || ran == batch.rows) return;
  for (Tensor& output : batch.outputs) {
    if (output.shape.rank() == 0 || output.shape[0] != static_cast<std::int64_t>(ran)) continue;
    const std::size_t each = output.data.size() / ran;
    if (each * ran != output.data.size()) continue;  // scatter() says what is wrong with it
    output.data = output.data.slice(0, each * batch.rows);
    output.shape.set(0, batch.rows);
  }
}

}  // namespace argosy::assemble
