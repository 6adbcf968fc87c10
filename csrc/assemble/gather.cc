#include "assemble/gather.h"

#include <algorithm>
#include <string>

#include "assemble/batch_inputs.h"
#include "tensor/rows.h"

namespace argosy::assemble {
namespace {

using infer::RequestPtr;
using tensor::Tensor;

void mark_wanted(const model::ModelSpec& spec, backend::Batch& batch) {
  const auto all = [](const RequestPtr& request) { return request->wanted.empty(); };
  const bool everything = std::any_of(batch.requests.begin(), batch.requests.end(), all);
  batch.wanted.assign(spec.outputs.size(), everything);
  if (everything) return;
  for (const RequestPtr& request : batch.requests) {
    for (const std::string& name : request->wanted) {
      for (std::size_t i = 0; i < spec.outputs.size(); ++i) {
        if (spec.outputs[i].name == name) batch.wanted[i] = true;
      }
    }
  }
}

Result<Tensor> join_input(const model::ModelSpec& spec, std::size_t input, BytesPool& pool, const backend::Batch& batch,
                          std::vector<device::Memory>& parts) {
  const Tensor& first = batch.requests.front()->inputs[input];
  const bool ragged = spec.inputs[input].ragged;
  if (batch.requests.size() == 1 && !(ragged && spec.batches())) return first;

  parts.clear();
  Tensor joined{spec.inputs[input].name, first.dtype, first.shape, {}};
  std::int64_t elements = 0;
  for (const RequestPtr& request : batch.requests) {
    const Tensor& part = request->inputs[input];
    if (part.name.empty()) return Tensor{};  // the others have none either
    if (batch.requests.size() > 1 && !part.data.on_host()) {
      return unsupported("model '" + spec.name + "', input '" + part.name +
                         "': tensors in device memory cannot be joined into one batch by the host");
    }
    if (ragged) elements += part.shape.element_count().value_or(0);
    parts.push_back(part.data);
  }
  if (ragged) {
    joined.shape = tensor::Shape{elements};
  } else {
    joined.shape.set(0, batch.rows);
  }
  if (parts.size() == 1) {
    joined.data = parts.front();
    return joined;
  }
  auto data = tensor::join(parts, pool);
  if (!data.ok()) {
    const Status why = data.status();
    return Status(why.code(), "model '" + spec.name + "', input '" + joined.name + "': " + why.message());
  }
  joined.data = *std::move(data);
  return joined;
}

}  // namespace

void begin_batch(const model::ModelSpec& spec, backend::Batch& batch) {
  batch.rows = 0;
  for (const RequestPtr& request : batch.requests) batch.rows += request->rows;
  mark_wanted(spec, batch);
}

Status gather(const model::ModelSpec& spec, BytesPool& pool, backend::Batch& batch) {
  begin_batch(spec, batch);
  batch.inputs.clear();
  batch.inputs.reserve(spec.inputs.size() + spec.batch_inputs.size());
  std::vector<device::Memory> parts;
  if (batch.requests.size() > 1) parts.reserve(batch.requests.size());
  for (std::size_t i = 0; i < spec.inputs.size(); ++i) {
    auto joined = join_input(spec, i, pool, batch, parts);
    if (!joined.ok()) return joined.status();
    batch.inputs.push_back(*std::move(joined));
  }
  for (const model::BatchInput& input : spec.batch_inputs) {
    auto made = describe(spec, input, batch.requests);
    if (!made.ok()) return made.status();
    batch.inputs.push_back(*std::move(made));
  }
  return {};
}

}  // namespace argosy::assemble
