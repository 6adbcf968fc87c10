#include "model/check_request.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "model/reshape.h"
#include "tensor/strings.h"

namespace argosy::model {
namespace {

using infer::Request;
using tensor::DType;
using tensor::Shape;
using tensor::Tensor;

constexpr std::string_view kBatchNote =
    "NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension to be prepended to each "
    "input shape. If you want to specify the full shape including the batch dim in your input dims config, try setting "
    "max_batch_size to zero. See the model configuration docs for more info on max_batch_size.";

std::string quoted(std::string_view name) { return "'" + std::string(name) + "'"; }

std::string of_input(const ModelSpec& spec, const TensorSpec& input) {
  return "input " + quoted(input.name) + " for model " + quoted(spec.name);
}

Status refused(const Request& request, const std::string& text) {
  return invalid_argument(infer::id_prefix(request) + text);
}

const TensorSpec* find(const std::vector<TensorSpec>& specs, std::string_view name) {
  const auto found = std::find_if(specs.begin(), specs.end(), [&](const TensorSpec& s) { return s.name == name; });
  return found == specs.end() ? nullptr : &*found;
}

std::string list(const std::vector<std::string_view>& names) {
  std::string out = "[";
  for (const std::string_view name : names) out += (out.size() > 1 ? "," : "") + quoted(name);
  return out + "]";
}

Status check_wanted(const ModelSpec& spec, const Request& request) {
  const auto& wanted = request.wanted;
  for (auto name = wanted.begin(); name != wanted.end(); ++name) {
    if (find(spec.outputs, *name) == nullptr) {
      return invalid_argument("unexpected inference output " + quoted(*name) + " for model " + quoted(spec.name));
    }
    // Few: every earlier one is an output of the model, and no two are the same.
    if (std::find(wanted.begin(), name, *name) != name) {
      return refused(request, "output " + quoted(*name) + " already exists in request");
    }
  }
  return {};
}

// The shape and name of an input that came as bytes alone.
Status deduce_raw(const ModelSpec& spec, Request& request) {
  if (request.inputs.size() != 1 || spec.inputs.size() != 1) {
    return refused(request, "Raw request must only have 1 input (found " + std::to_string(request.inputs.size()) +
                                ") to be deduced but got " + std::to_string(spec.inputs.size()) + " inputs in " +
                                quoted(spec.name) + " model configuration");
  }
  const TensorSpec& input = spec.inputs.front();
  Tensor& raw = request.inputs.front();
  raw.name = input.name;
  raw.dtype = input.dtype;
  raw.shape = input.dims;

  if (input.dtype == DType::bytes) {
    const bool one_element = input.dims.rank() == 1 && (input.dims[0] == 1 || input.dims[0] == -1);
    if (!one_element) {
      return refused(request,
                     "For BYTE datatype raw input " + quoted(input.name) + ", the model must have input shape [1]");
    }
    raw.shape = Shape{1};
    if (!raw.data.on_host()) return refused(request, "raw input " + quoted(input.name) + " must be in host memory");
    if (raw.data.size() > std::numeric_limits<std::uint32_t>::max()) {
      return refused(request, "raw input " + quoted(input.name) + " has " + std::to_string(raw.data.size()) +
                                  " bytes, expected at most 4294967295 in one string element");
    }
    // A copy, because the length must stand directly before the bytes.
    std::string element;
    element.reserve(raw.data.size() + 4);
    tensor::append_element(element, raw.data.bytes().view());
    raw.data = Bytes::take(std::move(element));
  } else {
    std::size_t open = 0, open_at = 0, known = tensor::element_size(input.dtype);
    for (std::size_t i = 0; i < input.dims.rank(); ++i) {
      if (input.dims[i] < 0) {
        ++open;
        open_at = i;
      } else if (__builtin_mul_overflow(known, static_cast<std::size_t>(input.dims[i]), &known)) {
        known = 0;
        break;
      }
    }
    if (open > 1) {
      return refused(request, "The shape of the raw input " + quoted(input.name) +
                                  " can not be deduced because there are more than one variable-sized dimension");
    }
    // What does not divide is refused by the byte size check.
    if (open == 1) raw.shape.set(open_at, known == 0 ? 0 : static_cast<std::int64_t>(raw.data.size() / known));
  }
  if (spec.batches()) raw.shape = raw.shape.with_first(1);
  return {};
}

bool in_order(const ModelSpec& spec, const Request& request) {
  return std::equal(spec.inputs.begin(), spec.inputs.end(), request.inputs.begin(), request.inputs.end(),
                    [](const TensorSpec& s, const Tensor& t) { return s.name == t.name; });
}

Status refuse_count(const ModelSpec& spec, const Request& request) {
  std::vector<std::string_view> got, missing;
  std::size_t required = 0;
  for (const Tensor& input : request.inputs) got.push_back(input.name);
  for (const TensorSpec& input : spec.inputs) {
    if (input.optional) continue;
    ++required;
    if (std::find(got.begin(), got.end(), input.name) == got.end()) missing.push_back(input.name);
  }
  const std::string expected = required == spec.inputs.size()
                                   ? "expected " + std::to_string(required) + " inputs"
                                   : "expected number of inputs between " + std::to_string(required) + " and " +
                                         std::to_string(spec.inputs.size());
  return refused(request, expected + " but got " + std::to_string(got.size()) + " inputs for model " +
                              quoted(spec.name) + ". Got input(s) " + list(got) + ", but missing required input(s) " +
                              list(missing) + ". Please provide all required input(s).");
}

// Puts the inputs into the model's order; those not sent stand without a name.
Status order_inputs(const ModelSpec& spec, Request& request) {
  std::unordered_set<std::string_view> names;
  for (const Tensor& input : request.inputs) {
    if (!names.insert(input.name).second) {
      return refused(request, "input " + quoted(input.name) + " already exists in request");
    }
  }
  const auto required = static_cast<std::size_t>(
      std::count_if(spec.inputs.begin(), spec.inputs.end(), [](const TensorSpec& s) { return !s.optional; }));
  if (request.inputs.size() > spec.inputs.size() || request.inputs.size() < required) {
    return refuse_count(spec, request);
  }

  std::vector<Tensor> ordered(spec.inputs.size());
  for (Tensor& input : request.inputs) {
    const TensorSpec* own = find(spec.inputs, input.name);
    if (own == nullptr) {
      return invalid_argument("unexpected inference input " + quoted(input.name) + " for model " + quoted(spec.name));
    }
  }
  for (const TensorSpec& input : spec.inputs) {
    if (!input.optional && !names.contains(input.name)) return refuse_count(spec, request);
  }
  for (Tensor& input : request.inputs) {
    const auto at = static_cast<std::size_t>(find(spec.inputs, input.name) - spec.inputs.data());
    ordered[at] = std::move(input);
  }
  request.inputs = std::move(ordered);
  return {};
}

Status check_rows(const ModelSpec& spec, Request& request) {
  request.rows = 1;
  if (!spec.batches()) return {};
  bool first = true;
  std::int64_t rows = 0;
  for (const Tensor& input : request.inputs) {
    if (input.name.empty()) continue;
    if (input.shape.rank() == 0) {
      return refused(request, "input " + quoted(input.name) + " has no shape but model requires batch dimension for " +
                                  quoted(spec.name));
    }
    // A negative one is refused with the other dimensions.
    if (input.shape[0] < 0) continue;
    if (!first && input.shape[0] != rows) {
      return refused(
          request, "input " + quoted(input.name) + " batch size does not match other inputs for " + quoted(spec.name));
    }
    first = false;
    rows = input.shape[0];
  }
  if (rows > static_cast<std::int64_t>(spec.max_batch_rows)) {
    return refused(request, "inference request batch-size must be <= " + std::to_string(spec.max_batch_rows) + " for " +
                                quoted(spec.name));
  }
  request.rows = first ? 1 : static_cast<std::uint32_t>(rows);
  return {};
}

bool fits(const Shape& shape, const Shape& dims, std::size_t lead) {
  if (shape.rank() != dims.rank() + lead) return false;
  for (std::size_t i = 0; i < dims.rank(); ++i) {
    if (dims[i] >= 0 && dims[i] != shape[i + lead]) return false;
  }
  return true;
}

Status check_shape(const ModelSpec& spec, const TensorSpec& input, const Request& request, Tensor& tensor) {
  if (tensor.dtype != input.dtype) {
    return refused(request, "inference input " + quoted(input.name) + " data-type is " +
                                quoted(to_string(tensor.dtype)) + ", but model " + quoted(spec.name) + " expects " +
                                quoted(to_string(input.dtype)));
  }
  if (std::any_of(tensor.shape.begin(), tensor.shape.end(), [](std::int64_t dim) { return dim < 0; })) {
    return refused(request, "All input dimensions should be specified for " + of_input(spec, input) + ", got " +
                                to_string(tensor.shape));
  }
  if (!fits(tensor.shape, input.dims, spec.batches() ? 1 : 0)) {
    const Shape expected = spec.batches() ? input.dims.with_first(-1) : input.dims;
    return refused(request, "unexpected shape for " + of_input(spec, input) + ". Expected " + to_string(expected) +
                                ", got " + to_string(tensor.shape) + ". " +
                                std::string(spec.batches() ? kBatchNote : ""));
  }
  if (input.reshape) tensor.shape = reshaped(tensor.shape, input.dims, *input.reshape);
  return {};
}

Status check_strings(const ModelSpec& spec, const TensorSpec& input, const Request& request, const Tensor& tensor,
                     std::size_t count) {
  if (!tensor.data.on_host()) return {};
  const std::span<const std::byte> bytes(tensor.data.data(), tensor.data.size());
  const auto found = tensor::check_strings(bytes, count);
  const std::string where = "inference " + of_input(spec, input);
  switch (found.fault) {
    case tensor::StringsFault::none: return {};
    case tensor::StringsFault::cut_off_length:
      return refused(request, "incomplete string length indicator for " + where + ", expecting 4 bytes but only " +
                                  std::to_string(found.remaining) +
                                  " bytes available. Please make sure the string "
                                  "length indicator is in one buffer.");
    case tensor::StringsFault::cut_off_element: {
      std::uint32_t length = 0;
      std::memcpy(&length, bytes.data() + bytes.size() - found.remaining, sizeof(length));
      return refused(request, "incomplete string data for " + where + ", expecting string of length " +
                                  std::to_string(length) + " but only " +
                                  std::to_string(found.remaining - sizeof(length)) + " bytes available.");
    }
    case tensor::StringsFault::too_many:
      return refused(request, "unexpected number of string elements " + std::to_string(found.elements + 1) + " for " +
                                  where + ", expecting " + std::to_string(count));
    case tensor::StringsFault::too_few: break;
  }
  return refused(request, "expected " + std::to_string(count) + " string elements for " + where + ", got " +
                              std::to_string(found.elements));
}

Status check_bytes(const ModelSpec& spec, const TensorSpec& input, const Request& request, const Tensor& tensor) {
  const auto count = tensor.shape.element_count();
  std::int64_t expected = 0;
  const auto each = static_cast<std::int64_t>(tensor::element_size(input.dtype));
  if (!count || __builtin_mul_overflow(*count, each, &expected)) {
    return refused(request, "invalid shape for " + of_input(spec, input) + ": shape " + to_string(tensor.shape) +
                                " causes total " + (count ? "byte size" : "element count") +
                                " to exceed maximum size of 9223372036854775807");
  }
  if (each == 0) return check_strings(spec, input, request, tensor, static_cast<std::size_t>(*count));
  if (static_cast<std::size_t>(expected) != tensor.data.size()) {
    return refused(request, "input byte size mismatch for " + of_input(spec, input) + ". Expected " +
                                std::to_string(expected) + ", got " + std::to_string(tensor.data.size()));
  }
  return {};
}

}  // namespace

Status check_request(const ModelSpec& spec, Request& request) {
  if (auto status = check_wanted(spec, request); !status.ok()) return status;
  if (request.raw_input) {
    if (auto status = deduce_raw(spec, request); !status.ok()) return status;
  }
  // In order and complete is how nearly every request comes: nothing is allocated then.
  if (!in_order(spec, request)) {
    if (auto status = order_inputs(spec, request); !status.ok()) return status;
  }
  if (auto status = check_rows(spec, request); !status.ok()) return status;
  for (std::size_t i = 0; i < spec.inputs.size(); ++i) {
    if (request.inputs[i].name.empty()) continue;
    if (auto s = check_shape(spec, spec.inputs[i], request, request.inputs[i]); !s.ok()) return s;
  }
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < spec.inputs.size(); ++i) {
    if (request.inputs[i].name.empty()) continue;
    if (auto s = check_bytes(spec, spec.inputs[i], request, request.inputs[i]); !s.ok()) return s;
    bytes += request.inputs[i].data.size();
  }
  if (request.bytes == 0) request.bytes = bytes;
  return {};
}

}  // namespace argosy::model
