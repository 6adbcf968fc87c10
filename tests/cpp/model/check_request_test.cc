#include "model/check_request.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "tensor/strings.h"

namespace argosy::model {
namespace {

using infer::Request;
using tensor::DType;
using tensor::Shape;
using tensor::Tensor;

const std::string kNote =
    "NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension to be prepended to each "
    "input shape. If you want to specify the full shape including the batch dim in your input dims config, try setting "
    "max_batch_size to zero. See the model configuration docs for more info on max_batch_size.";

Bytes zeros(std::size_t size) { return Bytes::take(std::string(size, '\0')); }

Bytes strings(std::initializer_list<std::string_view> values) {
  std::string out;
  for (const auto value : values) tensor::append_element(out, value);
  return Bytes::take(std::move(out));
}

Tensor fp32(std::string name, Shape shape) {
  const auto count = shape.element_count().value_or(0);
  return {std::move(name), DType::fp32, std::move(shape), zeros(static_cast<std::size_t>(count) * 4)};
}

// Batches up to 4; A fp32 [16], B fp32 [-1,2], S bytes [2] optional; outputs X and Y.
ModelSpec three_inputs() {
  ModelSpec spec;
  spec.name = "m";
  spec.max_batch_rows = 4;
  spec.inputs = {{.name = "A", .dims = {16}},
                 {.name = "B", .dims = {-1, 2}},
                 {.name = "S", .dtype = DType::bytes, .dims = {2}, .optional = true}};
  spec.outputs = {{.name = "X", .dims = {1}}, {.name = "Y", .dims = {1}}};
  return spec;
}

// One fp32 input A [-1,16], no batch dimension.
ModelSpec unbatched(DType dtype = DType::fp32, Shape dims = {-1, 16}) {
  ModelSpec spec;
  spec.name = "m";
  spec.inputs = {{.name = "A", .dtype = dtype, .dims = std::move(dims)}};
  spec.outputs = {{.name = "X", .dims = {1}}};
  return spec;
}

Request with(std::vector<Tensor> inputs, std::vector<std::string> wanted = {}) {
  Request request;
  request.inputs = std::move(inputs);
  request.wanted = std::move(wanted);
  return request;
}

std::string refusal(const ModelSpec& spec, Request request) {
  const Status status = check_request(spec, request);
  EXPECT_EQ(status.code(), StatusCode::invalid_argument);
  return status.message();
}

const std::string kId = "[request id: <id_unknown>] ";

TEST(CheckRequest, PutsInputsIntoTheModelsOrderAndLeavesAbsentOnesWithoutAName) {
  Request request = with({fp32("B", {3, 5, 2}), fp32("A", {3, 16})}, {"Y"});
  ASSERT_TRUE(check_request(three_inputs(), request).ok());
  ASSERT_EQ(request.inputs.size(), 3u);
  EXPECT_EQ(request.inputs[0].name, "A");
  EXPECT_EQ(request.inputs[1].name, "B");
  EXPECT_EQ(request.inputs[1].shape, (Shape{3, 5, 2}));
  EXPECT_EQ(request.inputs[2].name, "");
  EXPECT_EQ(request.rows, 3u);
  EXPECT_EQ(request.bytes, (3 * 16 + 3 * 5 * 2) * 4u);
}

TEST(CheckRequest, AnEmptyBatchHasNoRows) {
  Request request = with({fp32("A", {0, 16}), fp32("B", {0, 5, 2})});
  ASSERT_TRUE(check_request(three_inputs(), request).ok());
  EXPECT_EQ(request.rows, 0u);
}

TEST(CheckRequest, AModelWithoutBatchesHasOneRow) {
  Request request = with({fp32("A", {7, 16})});
  ASSERT_TRUE(check_request(unbatched(), request).ok());
  EXPECT_EQ(request.rows, 1u);
}

TEST(CheckRequest, OutputsMustExistAndBeNamedOnce) {
  EXPECT_EQ(refusal(three_inputs(), with({}, {"Z"})), "unexpected inference output 'Z' for model 'm'");
  EXPECT_EQ(refusal(three_inputs(), with({}, {"X", "Y", "X"})), kId + "output 'X' already exists in request");
}

TEST(CheckRequest, InputsMustBeNamedOnce) {
  EXPECT_EQ(refusal(three_inputs(), with({fp32("A", {1, 16}), fp32("A", {1, 16})})),
            kId + "input 'A' already exists in request");
}

TEST(CheckRequest, TheRequestsIdStandsBeforeTheText) {
  Request request = with({fp32("A", {1, 16}), fp32("A", {1, 16})});
  request.id = "42";
  EXPECT_EQ(refusal(three_inputs(), std::move(request)), "[request id: 42] input 'A' already exists in request");
}

TEST(CheckRequest, TheNumberOfInputsMustFit) {
  auto spec = three_inputs();
  EXPECT_EQ(refusal(spec, with({fp32("A", {1, 16})})),
            kId +
                "expected number of inputs between 2 and 3 but got 1 inputs for model 'm'. Got input(s) ['A'], but "
                "missing required input(s) ['B']. Please provide all required input(s).");
  spec.inputs.pop_back();
  EXPECT_EQ(refusal(spec, with({})),
            kId +
                "expected 2 inputs but got 0 inputs for model 'm'. Got input(s) [], but missing required input(s) "
                "['A','B']. Please provide all required input(s).");
  EXPECT_EQ(refusal(spec, with({fp32("A", {1, 16}), fp32("B", {1, 1, 2}), fp32("C", {1})})),
            kId +
                "expected 2 inputs but got 3 inputs for model 'm'. Got input(s) ['A','B','C'], but missing required "
                "input(s) []. Please provide all required input(s).");
}

TEST(CheckRequest, AnOptionalInputDoesNotStandInForARequiredOne) {
  Tensor s{"S", DType::bytes, {1, 2}, strings({"a", "b"})};
  EXPECT_EQ(refusal(three_inputs(), with({fp32("A", {1, 16}), s})),
            kId +
                "expected number of inputs between 2 and 3 but got 2 inputs for model 'm'. Got input(s) ['A','S'], "
                "but missing required input(s) ['B']. Please provide all required input(s).");
}

TEST(CheckRequest, AnUnknownInputIsNamedWithoutAnId) {
  EXPECT_EQ(refusal(three_inputs(), with({fp32("A", {1, 16}), fp32("Q", {1})})),
            "unexpected inference input 'Q' for model 'm'");
}

TEST(CheckRequest, BatchingModelsNeedEqualBatchSizesWithinTheLimit) {
  EXPECT_EQ(refusal(three_inputs(), with({fp32("A", {}), fp32("B", {1, 1, 2})})),
            kId + "input 'A' has no shape but model requires batch dimension for 'm'");
  EXPECT_EQ(refusal(three_inputs(), with({fp32("A", {2, 16}), fp32("B", {1, 1, 2})})),
            kId + "input 'B' batch size does not match other inputs for 'm'");
  EXPECT_EQ(refusal(three_inputs(), with({fp32("A", {5, 16}), fp32("B", {5, 1, 2})})),
            kId + "inference request batch-size must be <= 4 for 'm'");
  const std::int64_t huge = std::int64_t{1} << 62;
  EXPECT_EQ(refusal(three_inputs(), with({{"A", DType::fp32, {huge, 16}, {}}, {"B", DType::fp32, {huge, 1, 2}, {}}})),
            kId + "inference request batch-size must be <= 4 for 'm'");
}

TEST(CheckRequest, TheDataTypeMustBeTheModels) {
  Tensor a = fp32("A", {1, 16});
  a.dtype = DType::int32;
  EXPECT_EQ(refusal(three_inputs(), with({a, fp32("B", {1, 1, 2})})),
            kId + "inference input 'A' data-type is 'INT32', but model 'm' expects 'FP32'");
}

TEST(CheckRequest, TheShapeMustFit) {
  EXPECT_EQ(refusal(three_inputs(), with({fp32("A", {1, 17}), fp32("B", {1, 1, 2})})),
            kId + "unexpected shape for input 'A' for model 'm'. Expected [-1,16], got [1,17]. " + kNote);
  EXPECT_EQ(refusal(unbatched(), with({fp32("A", {1, 1, 16})})),
            kId + "unexpected shape for input 'A' for model 'm'. Expected [-1,16], got [1,1,16]. ");
  EXPECT_EQ(refusal(three_inputs(), with({fp32("A", {-1, 16}), fp32("B", {1, 1, 2})})),
            kId + "All input dimensions should be specified for input 'A' for model 'm', got [-1,16]");
}

TEST(CheckRequest, TheBytesMustBeWhatTheShapeSays) {
  Tensor a = fp32("A", {1, 16});
  a.data = zeros(60);
  EXPECT_EQ(refusal(three_inputs(), with({a, fp32("B", {1, 1, 2})})),
            kId + "input byte size mismatch for input 'A' for model 'm'. Expected 64, got 60");
}

TEST(CheckRequest, DimensionsWhoseProductOverflowsAreRefused) {
  const std::int64_t big = std::int64_t{1} << 32;
  EXPECT_EQ(refusal(unbatched(DType::fp32, {-1, -1}), with({{"A", DType::fp32, {big, big}, zeros(0)}})),
            kId +
                "invalid shape for input 'A' for model 'm': shape [4294967296,4294967296] causes total element count "
                "to exceed maximum size of 9223372036854775807");
  const std::int64_t huge = std::int64_t{1} << 62;
  EXPECT_EQ(refusal(unbatched(DType::fp32, {-1}), with({{"A", DType::fp32, {huge}, zeros(0)}})),
            kId +
                "invalid shape for input 'A' for model 'm': shape [4611686018427387904] causes total byte size "
                "to exceed maximum size of 9223372036854775807");
  EXPECT_FALSE(refusal(unbatched(DType::bytes, {-1}), with({{"A", DType::bytes, {huge}, zeros(0)}})).empty());
}

TEST(CheckRequest, StringsMustBeWhole) {
  const auto spec = unbatched(DType::bytes, {2});
  const auto said = [&](Bytes data) { return refusal(spec, with({{"A", DType::bytes, {2}, std::move(data)}})); };
  const std::string where = "inference input 'A' for model 'm'";
  EXPECT_EQ(said(Bytes::take(std::string("\1\0\0\0a\2\0", 7))),
            kId + "incomplete string length indicator for " + where +
                ", expecting 4 bytes but only 2 bytes available. "
                "Please make sure the string length indicator is in one buffer.");
  EXPECT_EQ(said(Bytes::take(std::string("\1\0\0\0a\5\0\0\0bc", 11))),
            kId + "incomplete string data for " + where + ", expecting string of length 5 but only 2 bytes available.");
  EXPECT_EQ(said(strings({"a", "b", "c"})),
            kId + "unexpected number of string elements 3 for " + where + ", expecting 2");
  EXPECT_EQ(said(strings({"a"})), kId + "expected 2 string elements for " + where + ", got 1");
  Request good = with({{"A", DType::bytes, {2}, strings({"", "b"})}});
  EXPECT_TRUE(check_request(spec, good).ok());
}

TEST(CheckRequest, DeviceMemoryIsNotRead) {
  const device::Memory remote(nullptr, reinterpret_cast<const std::byte*>(16), 8, {device::MemoryKind::device, 0});
  Request request = with({{"A", DType::bytes, {2}, remote}});
  EXPECT_TRUE(check_request(unbatched(DType::bytes, {2}), request).ok());
}

TEST(CheckRequest, ReshapeFillsOpenDimensionsInOrder) {
  auto spec = three_inputs();
  spec.inputs = {{.name = "A", .dims = {-1, 4, -1}, .reshape = Shape{2, -1, 2, -1}}};
  Request request = with({fp32("A", {3, 5, 4, 7})});
  ASSERT_TRUE(check_request(spec, request).ok());
  EXPECT_EQ(request.inputs[0].shape, (Shape{3, 2, 5, 2, 7}));

  spec.inputs = {{.name = "A", .dims = {1}, .reshape = Shape{}}};
  Request scalar = with({fp32("A", {3, 1})});
  ASSERT_TRUE(check_request(spec, scalar).ok());
  EXPECT_EQ(scalar.inputs[0].shape, (Shape{3}));
}

TEST(CheckRequest, ARawInputIsDeduced) {
  const auto raw = [](Bytes data) {
    Request request;
    request.raw_input = true;
    request.inputs.resize(1);
    request.inputs[0].data = std::move(data);
    return request;
  };
  Request request = raw(zeros(3 * 16 * 4));
  ASSERT_TRUE(check_request(unbatched(), request).ok());
  EXPECT_EQ(request.inputs[0].name, "A");
  EXPECT_EQ(request.inputs[0].shape, (Shape{3, 16}));

  auto batching = unbatched();
  batching.max_batch_rows = 8;
  Request batched = raw(zeros(3 * 16 * 4));
  ASSERT_TRUE(check_request(batching, batched).ok());
  EXPECT_EQ(batched.inputs[0].shape, (Shape{1, 3, 16}));
  EXPECT_EQ(batched.rows, 1u);

  Request hello = raw(Bytes::copy_of(std::string_view("hello")));
  ASSERT_TRUE(check_request(unbatched(DType::bytes, {1}), hello).ok());
  EXPECT_EQ(hello.inputs[0].data.bytes().view(), std::string_view("\5\0\0\0hello", 9));

  EXPECT_EQ(refusal(unbatched(), raw(zeros(65))),
            kId + "input byte size mismatch for input 'A' for model 'm'. Expected 64, got 65");
  EXPECT_EQ(
      refusal(three_inputs(), raw(zeros(64))),
      kId + "Raw request must only have 1 input (found 1) to be deduced but got 3 inputs in 'm' model configuration");
  EXPECT_EQ(refusal(unbatched(DType::fp32, {-1, -1}), raw(zeros(64))),
            kId +
                "The shape of the raw input 'A' can not be deduced because there are more than one variable-sized "
                "dimension");
  EXPECT_EQ(refusal(unbatched(DType::bytes, {2}), raw(zeros(64))),
            kId + "For BYTE datatype raw input 'A', the model must have input shape [1]");
}

TEST(CheckRequest, ManyInputsCostNoQuadraticSearch) {
  std::vector<Tensor> inputs;
  for (int i = 0; i < 200'000; ++i) inputs.push_back(fp32("input " + std::to_string(i), {0}));
  EXPECT_NE(refusal(unbatched(), with(std::move(inputs))).find("got 200000 inputs"), std::string::npos);
}

}  // namespace
}  // namespace argosy::model
