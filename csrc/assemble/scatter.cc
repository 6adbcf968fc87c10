#include "assemble/scatter.h"

#include <algorithm>
#include <optional>
#include <string>

#include "model/reshape.h"
#include "tensor/rows.h"
#include "tensor/strings.h"

namespace argosy::assemble {
namespace {

using tensor::Shape;
using tensor::Tensor;

std::string shown(const Tensor& output) { return std::string(to_string(output.dtype)) + " " + to_string(output.shape); }

// One wanted output of the batch, checked, with what its slices need.
struct Whole {
  Tensor tensor;                     // the client's shape, with the batch dimension
  std::vector<std::size_t> offsets;  // of the requests' parts; empty: one request takes all
};

Status wrong(const model::ModelSpec& spec, const model::TensorSpec& output, const std::string& problem) {
  return internal_error("model '" + spec.name + "', output '" + output.name + "': " + problem);
}

Status check(const model::ModelSpec& spec, const model::TensorSpec& output, const backend::Batch& batch,
             const Tensor& got) {
  if (got.dtype != output.dtype) {
    return wrong(spec, output,
                 "the backend returned " + shown(got) + ", expected data type " + std::string(to_string(output.dtype)));
  }
  if (spec.batches() && (got.shape.rank() == 0 || got.shape[0] != static_cast<std::int64_t>(batch.rows))) {
    return wrong(spec, output,
                 "the backend returned shape " + to_string(got.shape) + ", expected " + std::to_string(batch.rows) +
                     " as the first dimension (the rows of the batch)");
  }
  const auto count = got.shape.element_count();
  if (got.dtype == tensor::DType::bytes && count) {
    if (!got.data.on_host()) return wrong(spec, output, "the backend returned BYTES in device memory, expected host");
    const auto found = tensor::check_strings({got.data.data(), got.data.size()}, static_cast<std::size_t>(*count));
    if (found.fault == tensor::StringsFault::none) return {};
    return wrong(spec, output,
                 "the backend returned " + std::to_string(got.data.size()) + " bytes with " +
                     std::to_string(found.elements) + " whole string elements, expected exactly " +
                     std::to_string(*count) + " for shape " + to_string(got.shape));
  }
  const auto expected = tensor::byte_size(got.dtype, got.shape);
  if (!expected || *expected != got.data.size()) {
    return wrong(spec, output,
                 "the backend returned " + std::to_string(got.data.size()) + " bytes, expected " +
                     (expected ? std::to_string(*expected) + " for " : "a possible shape, not ") + shown(got));
  }
  return {};
}

Shape client_shape(const model::ModelSpec& spec, const model::TensorSpec& output, const Shape& got) {
  if (!output.reshape) return got;
  const std::size_t lead = spec.batches() ? 1 : 0;
  // A backend that already answers in the client's shape, or in one we do not know, is left alone.
  if (got.rank() != output.reshape->rank() + lead) return got;
  for (std::size_t i = 0; i < output.reshape->rank(); ++i) {
    if ((*output.reshape)[i] >= 0 && (*output.reshape)[i] != got[i + lead]) return got;
  }
  return model::reshaped(got, *output.reshape, output.dims);
}

Result<Whole> take(const model::ModelSpec& spec, const model::TensorSpec& output, backend::Batch& batch,
                   std::span<const std::uint32_t> rows) {
  const auto got = std::find_if(batch.outputs.begin(), batch.outputs.end(),
                                [&](const Tensor& tensor) { return tensor.name == output.name; });
  if (got == batch.outputs.end()) {
    std::string names;
    for (const Tensor& tensor : batch.outputs) names += (names.empty() ? "'" : ", '") + tensor.name + "'";
    return wrong(spec, output,
                 "the backend did not return it; it returned " + (names.empty() ? std::string("no output") : names));
  }
  if (auto status = check(spec, output, batch, *got); !status.ok()) return status;
  Whole whole{*std::move(got), {}};
  if (rows.size() > 1) whole.offsets = tensor::part_offsets(whole.tensor, rows);
  whole.tensor.shape = client_shape(spec, output, whole.tensor.shape);
  return whole;
}

Tensor part(const Whole& whole, std::size_t request, std::uint32_t rows) {
  if (whole.offsets.empty()) return whole.tensor;
  Shape shape = whole.tensor.shape;
  shape.set(0, rows);
  const std::size_t begin = whole.offsets[request];
  return {whole.tensor.name, whole.tensor.dtype, std::move(shape),
          whole.tensor.data.slice(begin, whole.offsets[request + 1] - begin)};
}

}  // namespace

Status scatter(const model::ModelSpec& spec, backend::Batch& batch) {
  std::vector<std::uint32_t> rows;
  rows.reserve(batch.requests.size());
  for (const auto& request : batch.requests) rows.push_back(request->rows);
  if (!spec.batches() && rows.size() != 1) {
    return internal_error("model '" + spec.name + "' has no batch dimension, but " + std::to_string(rows.size()) +
                          " requests ran as one batch, expected 1");
  }

  std::vector<std::optional<Whole>> wholes(spec.outputs.size());
  for (std::size_t i = 0; i < spec.outputs.size(); ++i) {
    if (!batch.wanted[i]) continue;
    auto whole = take(spec, spec.outputs[i], batch, rows);
    if (!whole.ok()) return whole.status();
    wholes[i] = *std::move(whole);
  }

  std::vector<infer::Response> answers(rows.size());
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const auto& wanted = batch.requests[r]->wanted;
    auto& outputs = answers[r].outputs;
    outputs.reserve(wanted.empty() ? spec.outputs.size() : wanted.size());
    if (wanted.empty()) {
      for (const auto& whole : wholes) outputs.push_back(part(*whole, r, rows[r]));
      continue;
    }
    for (const std::string& name : wanted) {
      for (std::size_t i = 0; i < spec.outputs.size(); ++i) {
        if (spec.outputs[i].name == name) outputs.push_back(part(*wholes[i], r, rows[r]));
      }
    }
  }
  batch.answers = std::move(answers);
  return {};
}

}  // namespace argosy::assemble
