#include "kserve/classification.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tensor/strings.h"

namespace argosy::kserve {
namespace {

using tensor::DType;

template <class T>
tensor::Tensor output(DType dtype, tensor::Shape shape, const std::vector<T>& values) {
  return {"y", dtype, std::move(shape), device::Memory(Bytes::copy_of(std::as_bytes(std::span(values))))};
}

std::vector<std::string> texts(const tensor::Tensor& tensor) {
  std::vector<std::string> out;
  std::span<const std::byte> left(tensor.data.data(), tensor.data.size());
  while (!left.empty()) {
    const tensor::Element element = tensor::first_element(left);
    out.emplace_back(element.value);
    left = left.subspan(element.used);
  }
  return out;
}

TEST(Classification, GivesTheBestOfEachRowWithLabels) {
  model::TensorSpec spec;
  spec.labels = {"cat", "", "dog"};
  const auto best = classify(output<float>(DType::fp32, {2, 3}, {1, 2, 3, 6, 5, 4}), 2, &spec, true);
  ASSERT_TRUE(best.ok());
  EXPECT_EQ(best->dtype, DType::bytes);
  EXPECT_EQ(best->shape, tensor::Shape({2, 2}));
  EXPECT_EQ(texts(*best), (std::vector<std::string>{"3.000000:2:dog", "2.000000:1", "6.000000:0:cat", "5.000000:1"}));
}

TEST(Classification, FlattensAModelWithoutBatchesAndStopsAtItsClasses) {
  const auto best = classify(output<std::int32_t>(DType::int32, {2, 2}, {-1, 4, 4, 0}), 9, nullptr, false);
  ASSERT_TRUE(best.ok());
  EXPECT_EQ(best->shape, tensor::Shape({4}));
  EXPECT_EQ(texts(*best), (std::vector<std::string>{"4:1", "4:2", "0:3", "-1:0"}));
}

TEST(Classification, PutsNanLast) {
  const auto best = classify(output<double>(DType::fp64, {3}, {std::nan(""), -1, 1}), 3, nullptr, false);
  EXPECT_EQ(texts(*best), (std::vector<std::string>{"1.000000:2", "-1.000000:1", "nan:0"}));
}

TEST(Classification, RefusesTypesAndSizesItDoesNotServe) {
  EXPECT_EQ(classify(output<std::uint16_t>(DType::fp16, {1}, {0}), 1, nullptr, false).status().message(),
            "class result not available for output due to unsupported type 'FP16'");
  EXPECT_EQ(classify(output(DType::uint8, {1000001}, std::vector<std::uint8_t>(1000001)), 1, nullptr, false)
                .status()
                .message(),
            "classification output tensor too large");
  EXPECT_EQ(classify(output<float>(DType::fp32, {3}, {1, 2}), 1, nullptr, false).status().code(), StatusCode::internal);
}

}  // namespace
}  // namespace argosy::kserve
