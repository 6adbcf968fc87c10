#include <gtest/gtest.h>

#include <random>
#include <string>

#include "assemble/gather.h"
#include "assemble/scatter.h"
#include "model/check_request.h"
#include "tensor/strings.h"

namespace argosy::assemble {
namespace {

using tensor::DType;
using tensor::Shape;

std::string characters(const device::Memory& memory) { return std::string(memory.bytes().view()); }

// A: int8 [-1] in, ragged; X: int8 [-1] out, shaped like A; batches up to 8.
model::ModelSpec echo_model() {
  model::ModelSpec model;
  model.name = "m";
  model.max_batch_rows = 8;
  model.inputs = {{.name = "A", .dtype = DType::int8, .dims = {-1}, .ragged = true}};
  model.outputs = {{.name = "X", .dtype = DType::int8, .dims = {-1}, .shaped_like = 0}};
  return model;
}

// Requests of [1,3], [2,2] and [1,0], gathered.
backend::Batch gathered_batch(const model::ModelSpec& model) {
  backend::Batch batch;
  for (const Shape& shape : {Shape{1, 3}, Shape{2, 2}, Shape{1, 0}}) {
    auto request = std::make_unique<infer::Request>();
    request->rows = static_cast<std::uint32_t>(shape[0]);
    const auto count = static_cast<std::size_t>(*shape.element_count());
    request->inputs = {{"A", DType::int8, shape, Bytes::take(std::string(count, 'a'))}};
    batch.requests.push_back(std::move(request));
  }
  EXPECT_TRUE(gather(model, default_pool(), batch).ok());
  return batch;
}

TEST(ShapedOutputs, EachRequestGetsAsManyElementsAsItSent) {
  auto batch = gathered_batch(echo_model());
  batch.outputs = {{"X", DType::int8, {7}, Bytes::copy_of("ABCDEFG")}};
  const std::byte* const x = batch.outputs[0].data.data();
  ASSERT_TRUE(scatter(echo_model(), batch).ok());
  ASSERT_EQ(batch.answers.size(), 3u);
  EXPECT_EQ(batch.answers[0].outputs[0].shape, (Shape{1, 3}));
  EXPECT_EQ(characters(batch.answers[0].outputs[0].data), "ABC");
  EXPECT_EQ(batch.answers[1].outputs[0].shape, (Shape{2, 2}));
  EXPECT_EQ(characters(batch.answers[1].outputs[0].data), "DEFG");
  EXPECT_EQ(batch.answers[1].outputs[0].data.data(), x + 3) << "not copied";
  EXPECT_EQ(batch.answers[2].outputs[0].shape, (Shape{1, 0}));
  EXPECT_TRUE(batch.answers[2].outputs[0].data.empty());
}

TEST(ShapedOutputs, OneRequestGetsItsOwnShape) {
  auto batch = gathered_batch(echo_model());
  batch.requests.erase(batch.requests.begin(), batch.requests.begin() + 1);
  batch.requests.pop_back();
  ASSERT_TRUE(gather(echo_model(), default_pool(), batch).ok());
  batch.outputs = {{"X", DType::int8, {4}, Bytes::copy_of("ABCD")}};
  ASSERT_TRUE(scatter(echo_model(), batch).ok());
  EXPECT_EQ(batch.answers[0].outputs[0].shape, (Shape{2, 2}));
}

TEST(ShapedOutputs, FixedDimensionsStayAndOpenOnesAreTheInputs) {
  auto model = echo_model();
  model.outputs[0].dims = {-1, 2};  // two values for each of the input's
  auto batch = gathered_batch(model);
  batch.outputs = {{"X", DType::int8, {7, 2}, Bytes::copy_of("ABCDEFGHIJKLMN")}};
  ASSERT_TRUE(scatter(model, batch).ok());
  EXPECT_EQ(batch.answers[1].outputs[0].shape, (Shape{2, 2, 2}));
  EXPECT_EQ(characters(batch.answers[1].outputs[0].data), "GHIJKLMN");
}

TEST(ShapedOutputs, ReshapeIsUndone) {
  auto model = echo_model();
  model.outputs[0].dims = {-1, 1};
  model.outputs[0].reshape = Shape{-1};
  auto batch = gathered_batch(model);
  batch.outputs = {{"X", DType::int8, {7}, Bytes::copy_of("ABCDEFG")}};
  ASSERT_TRUE(scatter(model, batch).ok());
  EXPECT_EQ(batch.answers[1].outputs[0].shape, (Shape{2, 2, 1}));
}

TEST(ShapedOutputs, StringsAreCountedToo) {
  auto model = echo_model();
  model.outputs[0].dtype = DType::bytes;
  auto batch = gathered_batch(model);
  std::string strings;
  for (const char* one : {"a", "", "ccc", "d", "ee", "f", "g"}) tensor::append_element(strings, one);
  batch.outputs = {{"X", DType::bytes, {7}, Bytes::copy_of(strings)}};
  ASSERT_TRUE(scatter(model, batch).ok());
  EXPECT_EQ(characters(batch.answers[0].outputs[0].data), std::string("\1\0\0\0a\0\0\0\0\3\0\0\0ccc", 16));
  EXPECT_EQ(batch.answers[1].outputs[0].data.size(), 4 * 4 + 5u);
  EXPECT_TRUE(batch.answers[2].outputs[0].data.empty());
}

TEST(ShapedOutputs, AnotherNumberOfElementsIsTheBackendsFault) {
  auto batch = gathered_batch(echo_model());
  batch.outputs = {{"X", DType::int8, {2, 3}, Bytes::copy_of("ABCDEF")}};
  EXPECT_EQ(scatter(echo_model(), batch),
            internal_error("model 'm', output 'X': the backend returned shape [2,3], expected 7 elements: the parts of "
                           "3 requests shaped like input 'A'"));
  EXPECT_TRUE(batch.answers.empty());
  batch.outputs = {{"X", DType::int8, {7}, Bytes::copy_of("ABCDEF")}};
  EXPECT_EQ(scatter(echo_model(), batch),
            internal_error("model 'm', output 'X': the backend returned 6 bytes, expected 7 for INT8 [7]"));
  batch.outputs = {{"X", DType::uint8, {7}, Bytes::copy_of("ABCDEFG")}};
  EXPECT_EQ(scatter(echo_model(), batch),
            internal_error("model 'm', output 'X': the backend returned UINT8 [7], expected data type INT8"));
}

TEST(ShapedOutputs, OfTheOthersRowsAreStillCounted) {
  auto model = echo_model();
  model.outputs.push_back({.name = "Y", .dtype = DType::int8, .dims = {1}});
  auto batch = gathered_batch(model);
  batch.outputs = {{"X", DType::int8, {7}, Bytes::copy_of("ABCDEFG")},
                   {"Y", DType::int8, {4, 1}, Bytes::copy_of("1234")}};
  ASSERT_TRUE(scatter(model, batch).ok());
  EXPECT_EQ(batch.answers[1].outputs[1].shape, (Shape{2, 1}));
  EXPECT_EQ(characters(batch.answers[1].outputs[1].data), "23");
}

// Requests of any shapes get back what they sent when the model returns its ragged inputs.
TEST(ShapedOutputsProperty, TogetherIsAsOneByOne) {
  for (unsigned seed = 0; seed < 1'000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    model::ModelSpec model;
    model.name = "echo";
    model.max_batch_rows = 64;
    for (std::size_t i = 0; i < 1 + seed % 3; ++i) {
      const auto dtype = static_cast<DType>(random() % tensor::kDTypes);
      model.inputs.push_back({.name = "t" + std::to_string(i), .dtype = dtype, .dims = {-1, 2, -1}, .ragged = true});
      model.outputs.push_back({.name = "t" + std::to_string(i), .dtype = dtype, .dims = {-1, 2, -1}, .shaped_like = i});
    }
    backend::Batch batch;
    for (std::size_t r = 1 + random() % 5; r > 0; --r) {
      auto request = std::make_unique<infer::Request>();
      const auto rows = static_cast<std::int64_t>(random() % 4);
      for (const auto& input : model.inputs) {
        const Shape shape{rows, static_cast<std::int64_t>(random() % 4), 2, static_cast<std::int64_t>(random() % 4)};
        std::string bytes;
        for (std::int64_t i = 0; i < shape.element_count(); ++i) {
          if (input.dtype == DType::bytes) tensor::append_element(bytes, std::string(random() % 9, 'y'));
          for (std::size_t b = 0; b < element_size(input.dtype); ++b) bytes += static_cast<char>(random());
        }
        request->inputs.push_back({input.name, input.dtype, shape, Bytes::copy_of(bytes)});
      }
      ASSERT_TRUE(check_request(model, *request).ok());
      batch.requests.push_back(std::move(request));
    }
    ASSERT_TRUE(gather(model, default_pool(), batch).ok());
    batch.outputs = batch.inputs;
    ASSERT_TRUE(scatter(model, batch).ok());
    for (std::size_t r = 0; r < batch.requests.size(); ++r) {
      for (std::size_t i = 0; i < model.outputs.size(); ++i) {
        ASSERT_EQ(batch.answers[r].outputs[i].shape, batch.requests[r]->inputs[i].shape);
        ASSERT_EQ(characters(batch.answers[r].outputs[i].data), characters(batch.requests[r]->inputs[i].data));
      }
    }
  }
}

}  // namespace
}  // namespace argosy::assemble
