#include "kserve/classification.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "tensor/strings.h"

namespace argosy::kserve {
namespace {

constexpr std::size_t kMostClasses = 1'000'000;

// NaN sorts last, so that the order is a strict one.
template <class T>
bool greater(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(b)) return !std::isnan(a);
  }
  return a > b;
}

template <class T>
void append_best(std::string& to, const std::byte* row, std::size_t classes, std::size_t k,
                 const std::vector<std::string>* labels) {
  std::vector<T> values(classes);
  if (classes > 0) std::memcpy(values.data(), row, classes * sizeof(T));
  std::vector<std::uint32_t> order(classes);
  std::iota(order.begin(), order.end(), 0u);
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(k), order.end(),
                    [&](std::uint32_t a, std::uint32_t b) {
                      if (greater(values[a], values[b])) return true;
                      return !greater(values[b], values[a]) && a < b;
                    });
  for (std::size_t i = 0; i < k; ++i) {
    const std::uint32_t index = order[i];
    std::string text = std::to_string(values[index]) + ":" + std::to_string(index);
    if (labels != nullptr && index < labels->size() && !(*labels)[index].empty()) text += ":" + (*labels)[index];
    tensor::append_element(to, text);
  }
}

using Append = void (*)(std::string&, const std::byte*, std::size_t, std::size_t, const std::vector<std::string>*);

Append append_for(tensor::DType dtype) {
  using tensor::DType;
  switch (dtype) {
    case DType::uint8: return append_best<std::uint8_t>;
    case DType::uint16: return append_best<std::uint16_t>;
    case DType::uint32: return append_best<std::uint32_t>;
    case DType::uint64: return append_best<std::uint64_t>;
    case DType::int8: return append_best<std::int8_t>;
    case DType::int16: return append_best<std::int16_t>;
    case DType::int32: return append_best<std::int32_t>;
    case DType::int64: return append_best<std::int64_t>;
    case DType::fp32: return append_best<float>;
    case DType::fp64: return append_best<double>;
    case DType::boolean:
    case DType::fp16:
    case DType::bf16:
    case DType::bytes: return nullptr;
  }
  return nullptr;
}

}  // namespace

Result<tensor::Tensor> classify(const tensor::Tensor& output, std::uint64_t k, const model::TensorSpec* spec,
                                bool batches) {
  const Append append = append_for(output.dtype);
  if (append == nullptr) {
    return invalid_argument("class result not available for output due to unsupported type '" +
                            std::string(tensor::to_string(output.dtype)) + "'");
  }
  const bool rows_first = batches && output.shape.rank() > 0;
  const auto rows = rows_first ? output.shape[0] : 1;
  const auto per_row = rows_first ? output.shape.without_first().element_count() : output.shape.element_count();
  const auto total = output.shape.element_count();
  const std::size_t size = tensor::element_size(output.dtype);
  if (!per_row || !total || static_cast<std::size_t>(*total) != output.data.size() / size ||
      output.data.size() % size != 0) {
    return internal_error("output '" + output.name + "' has " + std::to_string(output.data.size()) +
                          " bytes, which do not fit its shape " + tensor::to_string(output.shape));
  }
  const auto classes = static_cast<std::size_t>(*per_row);
  if (classes > kMostClasses) return invalid_argument("classification output tensor too large");
  const std::size_t best = std::min<std::uint64_t>(k, classes);

  std::string elements;
  if (best > 0) {
    for (std::int64_t row = 0; row < rows; ++row) {
      append(elements, output.data.data() + static_cast<std::size_t>(row) * classes * size, classes, best,
             spec == nullptr ? nullptr : &spec->labels);
    }
  }
  tensor::Shape shape;
  if (rows_first) shape.push_back(rows);
  shape.push_back(static_cast<std::int64_t>(best));
  return tensor::Tensor{output.name, tensor::DType::bytes, shape, device::Memory(Bytes::take(std::move(elements)))};
}

}  // namespace argosy::kserve
