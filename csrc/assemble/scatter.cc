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
  std::vector<Shape> shapes;         // of the parts, where rows do not tell them
};

Status wrong(const model::ModelSpec& spec, const model::TensorSpec& output, const std::string& problem) {
  return internal_error("model '" + spec.name + "', output '" + output.name + "': " + problem);
}

Status check_type(const model::ModelSpec& spec, const model::TensorSpec& output, const Tensor& got) {
  if (got.dtype == output.dtype) return {};
  return wrong(spec, output,
               "the backend returned " + shown(got) + ", expected data type " + std::string(to_string(output.dtype)));
}

Status check_rows(const model::ModelSpec& spec, const model::TensorSpec& output, const backend::Batch& batch,
                  const Tensor& got) {
  if (!spec.batches() || (got.shape.rank() > 0 && got.shape[0] == static_cast<std::int64_t>(batch.rows))) return {};
  return wrong(spec, output,
               "the backend returned shape " + to_string(got.shape) + ", expected " + std::to_string(batch.rows) +
                   " as the first dimension (the rows of the batch)");
}

Status check_bytes(const model::ModelSpec& spec, const model::TensorSpec& output, const Tensor& got) {
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

// One request's part of an output that is cut like an input: its open dimensions are that input's.
Shape shape_like(const model::ModelSpec& spec, const model::TensorSpec& output, const Shape& input) {
  Shape shape = spec.batches() ? output.backend_dims().with_first(-1) : output.backend_dims();
  for (std::size_t i = 0; i < shape.rank() && i < input.rank(); ++i) {
    if (shape[i] < 0) shape.set(i, input[i]);
  }
  return shape;
}

Result<Whole> cut_like_input(const model::ModelSpec& spec, const model::TensorSpec& output, const backend::Batch& batch,
                             Tensor got) {
  Whole whole;
  std::vector<std::size_t> counts;
  std::int64_t all = 0;
  for (const auto& request : batch.requests) {
    const Shape shape = shape_like(spec, output, request->inputs[*output.shaped_like].shape);
    const auto count = shape.element_count();
    if (!count || __builtin_add_overflow(all, *count, &all)) {
      return wrong(spec, output, "a request's part of it would have the shape " + to_string(shape));
    }
    counts.push_back(static_cast<std::size_t>(*count));
    whole.shapes.push_back(client_shape(spec, output, shape));
  }
  if (got.shape.element_count() != all) {
    return wrong(spec, output,
                 "the backend returned shape " + to_string(got.shape) + ", expected " + std::to_string(all) +
                     " elements: the parts of " + std::to_string(batch.requests.size()) +
                     " requests shaped like input '" + spec.inputs[*output.shaped_like].name + "'");
  }
  if (auto status = check_bytes(spec, output, got); !status.ok()) return status;
  whole.offsets = tensor::element_offsets(got, counts);
  whole.tensor = std::move(got);
  return whole;
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
  if (auto status = check_type(spec, output, *got); !status.ok()) return status;
  if (output.shaped_like) return cut_like_input(spec, output, batch, *std::move(got));
  if (auto status = check_rows(spec, output, batch, *got); !status.ok()) return status;
  if (auto status = check_bytes(spec, output, *got); !status.ok()) return status;
  Whole whole{*std::move(got), {}, {}};
  if (rows.size() > 1) whole.offsets = tensor::part_offsets(whole.tensor, rows);
  whole.tensor.shape = client_shape(spec, output, whole.tensor.shape);
  return whole;
}

Tensor part(const Whole& whole, std::size_t request, std::uint32_t rows) {
  if (whole.offsets.empty()) return whole.tensor;
  Shape shape = whole.shapes.empty() ? whole.tensor.shape : whole.shapes[request];
  if (whole.shapes.empty()) shape.set(0, rows);
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
