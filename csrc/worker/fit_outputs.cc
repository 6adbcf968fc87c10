#include "worker/fit_outputs.h"

#include <algorithm>
#include <string>

#include "model/reshape.h"

namespace argosy::worker {
namespace {

using tensor::Shape;
using tensor::Tensor;

bool matches(const Shape& got, std::size_t lead, const Shape& dims) {
  if (got.rank() != dims.rank() + lead) return false;
  for (std::size_t i = 0; i < dims.rank(); ++i) {
    if (dims[i] >= 0 && dims[i] != got[i + lead]) return false;
  }
  return true;
}

Status check(const model::ModelSpec& spec, const model::TensorSpec& output, std::int64_t rows, Tensor& got) {
  const std::string where = "model '" + spec.name + "', output '" + output.name + "': ";
  if (got.dtype != output.dtype) {
    return internal_error(where + "the model returned " + std::string(to_string(got.dtype)) + " " +
                          to_string(got.shape) + ", expected data type " + std::string(to_string(output.dtype)));
  }
  const std::size_t lead = spec.batches() ? 1 : 0;
  if (!matches(got.shape, lead, output.dims) && output.reshape && matches(got.shape, lead, *output.reshape)) {
    got.shape = model::reshaped(got.shape, *output.reshape, output.dims);
  }
  const bool fits = matches(got.shape, lead, output.dims) && (lead == 0 || spec.decoupled || got.shape[0] == rows);
  if (fits) return {};
  Shape expected = output.dims;
  std::string shown = to_string(expected);
  if (lead != 0) {
    Shape whole{spec.decoupled ? -1 : rows};
    for (const std::int64_t dim : output.dims) whole.push_back(dim);
    shown = to_string(whole);
  }
  return internal_error(where + "the model returned shape " + to_string(got.shape) + ", expected " + shown);
}

}  // namespace

void fit_outputs(const model::ModelSpec& spec, const infer::Request& request, infer::Response& response) {
  if (!response.status.ok()) return;
  std::vector<Tensor> fitted;
  const auto take = [&](const model::TensorSpec& output) -> Status {
    const auto got = std::ranges::find(response.outputs, output.name, &Tensor::name);
    if (got == response.outputs.end()) {
      if (spec.decoupled) return {};
      std::string names;
      for (const Tensor& tensor : response.outputs) names += (names.empty() ? "'" : ", '") + tensor.name + "'";
      return internal_error("model '" + spec.name + "', output '" + output.name +
                            "': the model did not return it; it returned " + (names.empty() ? "no output" : names));
    }
    Status status = check(spec, output, request.rows, *got);
    if (status.ok()) fitted.push_back(*got);
    return status;
  };
  for (std::size_t i = 0; i < (request.wanted.empty() ? spec.outputs.size() : request.wanted.size()); ++i) {
    const auto output = request.wanted.empty()
                            ? spec.outputs.begin() + static_cast<std::ptrdiff_t>(i)
                            : std::ranges::find(spec.outputs, request.wanted[i], &model::TensorSpec::name);
    if (output == spec.outputs.end()) continue;
    if (Status status = take(*output); !status.ok()) {
      response = {std::move(status), {}, {}};
      return;
    }
  }
  response.outputs = std::move(fitted);
}

}  // namespace argosy::worker
