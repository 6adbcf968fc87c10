#include "assemble/batch_inputs.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "assemble/gather.h"

namespace argosy::assemble {
namespace {

using CountKind = model::BatchInput::Kind;
using tensor::DType;
using tensor::Shape;

model::ModelSpec ragged_model(Shape dims = {-1}) {
  model::ModelSpec model;
  model.name = "m";
  model.max_batch_rows = 8;
  model.inputs = {{.name = "A", .dtype = DType::int8, .dims = std::move(dims), .ragged = true}};
  return model;
}

infer::RequestPtr ragged_request(Shape shape) {
  auto made = std::make_unique<infer::Request>();
  made->rows = static_cast<std::uint32_t>(shape[0]);
  const auto bytes = static_cast<std::size_t>(shape.element_count().value_or(0));
  made->inputs = {{"A", DType::int8, std::move(shape), Bytes::take(std::string(bytes, 'a'))}};
  return made;
}

// Three values of one row, two rows of two, a row without values.
std::vector<infer::RequestPtr> three_requests() {
  std::vector<infer::RequestPtr> made;
  for (Shape shape : {Shape{1, 3}, Shape{2, 2}, Shape{1, 0}}) made.push_back(ragged_request(std::move(shape)));
  return made;
}

template <class Number>
std::vector<Number> numbers_of(const tensor::Tensor& tensor) {
  std::vector<Number> out(tensor.data.size() / sizeof(Number));
  if (!out.empty()) std::memcpy(out.data(), tensor.data.data(), tensor.data.size());
  return out;
}

tensor::Tensor described(CountKind kind, const std::vector<infer::RequestPtr>& requests, DType dtype = DType::int32,
                         const model::ModelSpec& model = ragged_model()) {
  auto made = describe(model, {"N", dtype, kind, 0}, requests);
  EXPECT_TRUE(made.ok()) << made.status().message();
  EXPECT_EQ(made->name, "N");
  EXPECT_EQ(made->dtype, dtype);
  return *std::move(made);
}

using Int32s = std::vector<std::int32_t>;

TEST(BatchInputs, AnElementCountIsOnePerRequestOverAllItsRows) {
  const auto made = described(CountKind::element_count, three_requests());
  EXPECT_EQ(made.shape, (Shape{3}));
  EXPECT_EQ(numbers_of<std::int32_t>(made), (Int32s{3, 4, 0}));
}

TEST(BatchInputs, AccumulatedCountsAreTheEndsOfTheParts) {
  const auto made = described(CountKind::accumulated_element_count, three_requests());
  EXPECT_EQ(made.shape, (Shape{3}));
  EXPECT_EQ(numbers_of<std::int32_t>(made), (Int32s{3, 7, 7}));
}

TEST(BatchInputs, AccumulatedCountsWithZeroAreBeginsAndEnds) {
  const auto made = described(CountKind::accumulated_element_count_with_zero, three_requests());
  EXPECT_EQ(made.shape, (Shape{4}));
  EXPECT_EQ(numbers_of<std::int32_t>(made), (Int32s{0, 3, 7, 7}));
}

TEST(BatchInputs, TheLargestCountIsAShapeWithoutContents) {
  const auto made = described(CountKind::max_element_count_as_shape, three_requests());
  EXPECT_EQ(made.shape, (Shape{4}));
  EXPECT_EQ(numbers_of<std::int32_t>(made), (Int32s{0, 0, 0, 0})) << "nothing that others left in memory";
}

TEST(BatchInputs, ItemShapesAreOnePerRow) {
  const auto made = described(CountKind::item_shape, three_requests());
  EXPECT_EQ(made.shape, (Shape{4, 1}));
  EXPECT_EQ(numbers_of<std::int32_t>(made), (Int32s{3, 2, 2, 0}));
  const auto flat = described(CountKind::item_shape_flatten, three_requests());
  EXPECT_EQ(flat.shape, (Shape{4}));
  EXPECT_EQ(numbers_of<std::int32_t>(flat), (Int32s{3, 2, 2, 0}));
}

TEST(BatchInputs, ItemShapesHaveAllDimensionsButTheBatch) {
  std::vector<infer::RequestPtr> two;
  two.push_back(ragged_request({2, 3, 1}));
  two.push_back(ragged_request({1, 2, 2}));
  const auto made = described(CountKind::item_shape, two, DType::int32, ragged_model({-1, -1}));
  EXPECT_EQ(made.shape, (Shape{3, 2}));
  EXPECT_EQ(numbers_of<std::int32_t>(made), (Int32s{3, 1, 3, 1, 2, 2}));
  EXPECT_EQ(described(CountKind::item_shape_flatten, two, DType::int32, ragged_model({-1, -1})).shape, (Shape{6}));
}

TEST(BatchInputs, AreTheSameInFloatingPoint) {
  const std::vector<float> sums{0, 3, 7, 7}, shapes{3, 2, 2, 0};
  EXPECT_EQ(numbers_of<float>(described(CountKind::accumulated_element_count_with_zero, three_requests(), DType::fp32)),
            sums);
  EXPECT_EQ(numbers_of<float>(described(CountKind::item_shape, three_requests(), DType::fp32)), shapes);
  EXPECT_EQ(described(CountKind::max_element_count_as_shape, three_requests(), DType::fp32).data.size(), 16u);
}

TEST(BatchInputs, OneRequestIsABatchToo) {
  std::vector<infer::RequestPtr> one;
  one.push_back(ragged_request({1, 5}));
  EXPECT_EQ(numbers_of<std::int32_t>(described(CountKind::element_count, one)), (Int32s{5}));
  EXPECT_EQ(numbers_of<std::int32_t>(described(CountKind::accumulated_element_count_with_zero, one)), (Int32s{0, 5}));
  EXPECT_EQ(numbers_of<std::int32_t>(described(CountKind::item_shape, one)), (Int32s{5}));
}

TEST(BatchInputs, ARequestWithoutRowsHasACountAndNoShape) {
  std::vector<infer::RequestPtr> two;
  two.push_back(ragged_request({0, 9}));
  two.push_back(ragged_request({1, 2}));
  EXPECT_EQ(numbers_of<std::int32_t>(described(CountKind::accumulated_element_count, two)), (Int32s{0, 2}));
  const auto made = described(CountKind::item_shape, two);
  EXPECT_EQ(made.shape, (Shape{1, 1}));
  EXPECT_EQ(numbers_of<std::int32_t>(made), (Int32s{2}));
  two.pop_back();
  EXPECT_EQ(described(CountKind::item_shape, two).shape, (Shape{0, 1}));
  EXPECT_EQ(described(CountKind::max_element_count_as_shape, two).shape, (Shape{0}));
}

TEST(BatchInputs, ANumberThatDoesNotFitIsRefused) {
  std::vector<infer::RequestPtr> two;
  for (int i = 0; i < 2; ++i) {
    two.push_back(ragged_request({1, 0}));
    two.back()->inputs[0].shape = {1, 2'000'000'000};
  }
  EXPECT_EQ(numbers_of<std::int32_t>(described(CountKind::element_count, two)), (Int32s{2'000'000'000, 2'000'000'000}));
  const auto made = describe(ragged_model(), {"N", DType::int32, CountKind::accumulated_element_count, 0}, two);
  EXPECT_EQ(made.status(),
            invalid_argument("model 'm', batch input 'N': 4000000000 of input 'A' is more than INT32 has, expected at "
                             "most 2147483647"));
  EXPECT_EQ(numbers_of<float>(described(CountKind::accumulated_element_count, two, DType::fp32)),
            (std::vector<float>{2e9f, 4e9f}));
}

TEST(BatchInputs, StandBehindTheInputsOfTheBatch) {
  auto model = ragged_model();
  model.batch_inputs = {{"ends", DType::int32, CountKind::accumulated_element_count, 0},
                        {"counts", DType::fp32, CountKind::element_count, 0}};
  backend::Batch batch;
  batch.requests = three_requests();
  ASSERT_TRUE(gather(model, default_pool(), batch).ok());
  ASSERT_EQ(batch.inputs.size(), 3u);
  EXPECT_EQ(batch.inputs[0].shape, (Shape{7}));
  EXPECT_EQ(batch.inputs[1].name, "ends");
  EXPECT_EQ(numbers_of<std::int32_t>(batch.inputs[1]), (Int32s{3, 7, 7}));
  EXPECT_EQ(batch.inputs[2].name, "counts");
  EXPECT_EQ(numbers_of<float>(batch.inputs[2]), (std::vector<float>{3, 4, 0}));
}

}  // namespace
}  // namespace argosy::assemble
