#include "assemble/batch_inputs.h"

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

namespace argosy::assemble {
namespace {

using infer::RequestPtr;
using Kind = model::BatchInput::Kind;
using tensor::DType;
using tensor::Shape;

struct Numbers {
  Shape shape;
  std::vector<std::int64_t> values;
};

std::int64_t elements(const RequestPtr& request, std::size_t input) {
  assert(!request->inputs[input].name.empty());
  return request->inputs[input].shape.element_count().value_or(0);
}

Numbers counts(std::span<const RequestPtr> requests, const model::BatchInput& input) {
  Numbers made;
  if (input.kind == Kind::accumulated_element_count_with_zero) made.values.push_back(0);
  std::int64_t sum = 0;
  for (const RequestPtr& request : requests) {
    const std::int64_t own = elements(request, input.source);
    sum += own;  // of bytes in memory: it fits
    made.values.push_back(input.kind == Kind::element_count ? own : sum);
  }
  made.shape = Shape{static_cast<std::int64_t>(made.values.size())};
  return made;
}

Numbers shapes(std::span<const RequestPtr> requests, const model::BatchInput& input, std::size_t rank) {
  Numbers made;
  std::int64_t rows = 0;
  for (const RequestPtr& request : requests) {
    const Shape& shape = request->inputs[input.source].shape;
    for (std::int64_t row = 0; row < shape[0]; ++row) {
      made.values.insert(made.values.end(), shape.begin() + 1, shape.end());
    }
    rows += shape[0];
  }
  const auto dims = static_cast<std::int64_t>(rank);
  made.shape = input.kind == Kind::item_shape ? Shape{rows, dims} : Shape{rows * dims};
  return made;
}

template <class Number>
std::string bytes_of(const std::vector<std::int64_t>& values) {
  std::string bytes(values.size() * sizeof(Number), '\0');
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto value = static_cast<Number>(values[i]);
    std::memcpy(bytes.data() + i * sizeof(Number), &value, sizeof(Number));
  }
  return bytes;
}

Status too_large(const model::ModelSpec& spec, const model::BatchInput& input, std::int64_t value) {
  return invalid_argument("model '" + spec.name + "', batch input '" + input.name + "': " + std::to_string(value) +
                          " of input '" + spec.inputs[input.source].name +
                          "' is more than INT32 has, expected at most " +
                          std::to_string(std::numeric_limits<std::int32_t>::max()));
}

}  // namespace

Result<tensor::Tensor> describe(const model::ModelSpec& spec, const model::BatchInput& input,
                                std::span<const RequestPtr> requests) {
  tensor::Tensor made{input.name, input.dtype, {}, {}};
  if (input.kind == Kind::max_element_count_as_shape) {
    std::int64_t most = 0;
    for (const RequestPtr& request : requests) most = std::max(most, elements(request, input.source));
    made.shape = Shape{most};
    // Nobody reads them, but what other requests left in memory is not shown either.
    made.data = Bytes::take(std::string(static_cast<std::size_t>(most) * tensor::element_size(input.dtype), '\0'));
    return made;
  }
  const bool of_rows = input.kind == Kind::item_shape || input.kind == Kind::item_shape_flatten;
  Numbers numbers =
      of_rows ? shapes(requests, input, spec.inputs[input.source].backend_dims().rank()) : counts(requests, input);
  made.shape = std::move(numbers.shape);
  if (input.dtype == DType::fp32) {
    made.data = Bytes::take(bytes_of<float>(numbers.values));
    return made;
  }
  const auto most = std::ranges::max_element(numbers.values);
  if (most != numbers.values.end() && *most > std::numeric_limits<std::int32_t>::max()) {
    return too_large(spec, input, *most);
  }
  made.data = Bytes::take(bytes_of<std::int32_t>(numbers.values));
  return made;
}

}  // namespace argosy::assemble
