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
using tensor::Tensor;

std::string text(const device::Memory& memory) { return std::string(memory.bytes().view()); }

device::Memory memory(std::string_view bytes) { return Bytes::copy_of(bytes); }

// Counts what it hands out.
struct CountingPool final : BytesPool {
  Buffer allocate(std::size_t size) override {
    ++buffers;
    bytes += size;
    return default_pool().allocate(size);
  }
  int buffers = 0;
  std::size_t bytes = 0;
};

// A: int8 [2] in; X: int8 [2] and Y: bytes [1] out; batches up to 8.
model::ModelSpec spec() {
  model::ModelSpec spec;
  spec.name = "m";
  spec.max_batch_rows = 8;
  spec.inputs = {{.name = "A", .dtype = DType::int8, .dims = {2}}};
  spec.outputs = {{.name = "X", .dtype = DType::int8, .dims = {2}}, {.name = "Y", .dtype = DType::bytes, .dims = {1}}};
  return spec;
}

void add(backend::Batch& batch, std::uint32_t rows, std::string_view bytes, std::vector<std::string> wanted = {}) {
  auto request = std::make_unique<infer::Request>();
  request->rows = rows;
  request->inputs = {{"A", DType::int8, {rows, 2}, memory(bytes)}};
  request->wanted = std::move(wanted);
  batch.requests.push_back(std::move(request));
}

// Two requests, of 1 and 2 rows, whose model answered X and Y.
backend::Batch answered(std::vector<std::string> first_wants = {}) {
  backend::Batch batch;
  add(batch, 1, "ab", std::move(first_wants));
  add(batch, 2, "cdef");
  EXPECT_TRUE(gather(spec(), default_pool(), batch).ok());
  std::string strings;
  for (const char* value : {"one", "", "three"}) tensor::append_element(strings, value);
  batch.outputs = {{"Y", DType::bytes, {3, 1}, memory(strings)}, {"X", DType::int8, {3, 2}, memory("ABCDEF")}};
  return batch;
}

TEST(Gather, OneRequestIsNotCopied) {
  CountingPool pool;
  backend::Batch batch;
  add(batch, 2, "abcd");
  ASSERT_TRUE(gather(spec(), pool, batch).ok());
  EXPECT_EQ(batch.inputs[0].data.data(), batch.requests[0]->inputs[0].data.data());
  EXPECT_EQ(pool.buffers, 0);
  EXPECT_EQ(batch.rows, 2u);
}

TEST(Gather, JoinsRowsInRequestOrderWithOneCopy) {
  CountingPool pool;
  backend::Batch batch;
  add(batch, 1, "ab");
  add(batch, 0, "");
  add(batch, 2, "cdef");
  ASSERT_TRUE(gather(spec(), pool, batch).ok());
  EXPECT_EQ(batch.rows, 3u);
  EXPECT_EQ(batch.inputs[0].name, "A");
  EXPECT_EQ(batch.inputs[0].shape, (Shape{3, 2}));
  EXPECT_EQ(text(batch.inputs[0].data), "abcdef");
  EXPECT_EQ(pool.buffers, 1);
  EXPECT_EQ(pool.bytes, 6u);
}

TEST(Gather, MarksTheOutputsSomebodyWants) {
  backend::Batch batch;
  add(batch, 1, "ab", {"Y"});
  add(batch, 1, "ab", {"Y"});
  ASSERT_TRUE(gather(spec(), default_pool(), batch).ok());
  EXPECT_EQ(batch.wanted, (std::vector{false, true}));
  add(batch, 1, "ab");
  ASSERT_TRUE(gather(spec(), default_pool(), batch).ok());
  EXPECT_EQ(batch.wanted, (std::vector{true, true}));
}

TEST(Gather, AnOptionalInputNobodySentHasNoName) {
  auto model = spec();
  model.inputs.push_back({.name = "B", .dims = {1}, .optional = true});
  backend::Batch batch;
  add(batch, 1, "ab");
  add(batch, 1, "cd");
  for (auto& request : batch.requests) request->inputs.resize(2);
  ASSERT_TRUE(gather(model, default_pool(), batch).ok());
  ASSERT_EQ(batch.inputs.size(), 2u);
  EXPECT_EQ(batch.inputs[1].name, "");
}

TEST(Gather, ARaggedInputIsJoinedFlatEvenForOneRequest) {
  auto model = spec();
  model.inputs[0] = {.name = "A", .dtype = DType::int8, .dims = {-1}, .ragged = true};
  backend::Batch batch;
  add(batch, 1, "ab");
  ASSERT_TRUE(gather(model, default_pool(), batch).ok());
  EXPECT_EQ(batch.inputs[0].shape, (Shape{2}));
  add(batch, 1, "cde");
  batch.requests[1]->inputs[0].shape = {1, 3};
  ASSERT_TRUE(gather(model, default_pool(), batch).ok());
  EXPECT_EQ(batch.inputs[0].shape, (Shape{5}));
  EXPECT_EQ(text(batch.inputs[0].data), "abcde");
  EXPECT_EQ(batch.rows, 2u);
}

TEST(Gather, AScalarPassesThroughAModelWithoutBatches) {
  auto model = spec();
  model.max_batch_rows = 0;
  backend::Batch batch;
  add(batch, 1, "a");
  batch.requests[0]->inputs[0].shape = {};
  ASSERT_TRUE(gather(model, default_pool(), batch).ok());
  EXPECT_EQ(batch.inputs[0].shape, Shape());
}

TEST(Gather, DeviceTensorsAreNotJoinedByTheHost) {
  backend::Batch batch;
  add(batch, 1, "ab");
  add(batch, 1, "cd");
  batch.requests[1]->inputs[0].data =
      device::Memory(nullptr, reinterpret_cast<const std::byte*>(16), 2, {device::MemoryKind::device, 0});
  const Status status = gather(spec(), default_pool(), batch);
  EXPECT_EQ(status.code(), StatusCode::unsupported);
  EXPECT_NE(status.message().find("model 'm', input 'A'"), std::string::npos);
}

TEST(Scatter, GivesEachRequestItsRowsWithoutACopy) {
  auto batch = answered();
  const std::byte* x = batch.outputs[1].data.data();
  ASSERT_TRUE(scatter(spec(), batch).ok());
  ASSERT_EQ(batch.answers.size(), 2u);
  const auto& second = batch.answers[1].outputs;
  ASSERT_EQ(second.size(), 2u);
  EXPECT_EQ(second[0].name, "X") << "the model's order, not the backend's";
  EXPECT_EQ(second[0].shape, (Shape{2, 2}));
  EXPECT_EQ(text(second[0].data), "CDEF");
  EXPECT_EQ(second[0].data.data(), x + 2);
  EXPECT_EQ(text(second[1].data), std::string("\0\0\0\0\5\0\0\0three", 13));
}

TEST(Scatter, OutputsComeInTheOrderTheRequestNamesThem) {
  auto batch = answered({"Y", "X"});
  ASSERT_TRUE(scatter(spec(), batch).ok());
  EXPECT_EQ(batch.answers[0].outputs[0].name, "Y");
  EXPECT_EQ(batch.answers[0].outputs[1].name, "X");
}

TEST(Scatter, OnlyWantedOutputsAreReturned) {
  auto batch = answered({"Y"});
  ASSERT_TRUE(scatter(spec(), batch).ok());
  ASSERT_EQ(batch.answers[0].outputs.size(), 1u);
  EXPECT_EQ(batch.answers[0].outputs[0].name, "Y");
}

TEST(Scatter, AnUnwantedOutputMayBeMissingOrWrong) {
  backend::Batch batch;
  add(batch, 1, "ab", {"X"});
  ASSERT_TRUE(gather(spec(), default_pool(), batch).ok());
  batch.outputs = {{"X", DType::int8, {1, 2}, memory("AB")}, {"Y", DType::fp32, {9}, {}}};
  EXPECT_TRUE(scatter(spec(), batch).ok());
}

TEST(Scatter, ReshapeIsUndone) {
  auto model = spec();
  model.outputs = {{.name = "X", .dtype = DType::int8, .dims = {-1, 2}, .reshape = Shape{2, -1}}};
  backend::Batch batch;
  add(batch, 1, "ab");
  add(batch, 1, "ab");
  ASSERT_TRUE(gather(model, default_pool(), batch).ok());
  batch.outputs = {{"X", DType::int8, {2, 2, 1}, memory("ABCD")}};
  ASSERT_TRUE(scatter(model, batch).ok());
  EXPECT_EQ(batch.answers[1].outputs[0].shape, (Shape{1, 1, 2}));
}

std::string failure(void (*spoil)(backend::Batch&)) {
  auto batch = answered();
  spoil(batch);
  const Status status = scatter(spec(), batch);
  EXPECT_EQ(status.code(), StatusCode::internal);
  EXPECT_TRUE(batch.answers.empty());
  return status.message();
}

TEST(Scatter, WhatABackendDidWrongIsNamed) {
  EXPECT_EQ(failure([](backend::Batch& b) { b.outputs.pop_back(); }),
            "model 'm', output 'X': the backend did not return it; it returned 'Y'");
  EXPECT_EQ(failure([](backend::Batch& b) { b.outputs[1].dtype = DType::uint8; }),
            "model 'm', output 'X': the backend returned UINT8 [3,2], expected data type INT8");
  EXPECT_EQ(failure([](backend::Batch& b) {
              b.outputs[1].shape = {2, 3};
            }),
            "model 'm', output 'X': the backend returned shape [2,3], expected 3 as the first dimension (the rows of "
            "the batch)");
  EXPECT_EQ(failure([](backend::Batch& b) { b.outputs[1].shape = {}; }),
            "model 'm', output 'X': the backend returned shape [], expected 3 as the first dimension (the rows of the "
            "batch)");
  EXPECT_EQ(failure([](backend::Batch& b) { b.outputs[1].data = memory("ABCD"); }),
            "model 'm', output 'X': the backend returned 4 bytes, expected 6 for INT8 [3,2]");
  EXPECT_EQ(failure([](backend::Batch& b) { b.outputs[0].data = memory("1234"); }),
            "model 'm', output 'Y': the backend returned 4 bytes with 0 whole string elements, expected exactly 3 for "
            "shape [3,1]");
}

TEST(Scatter, ABatchOfAModelWithoutBatchesIsRefused) {
  auto model = spec();
  auto batch = answered();
  model.max_batch_rows = 0;
  EXPECT_EQ(scatter(model, batch).code(), StatusCode::internal);
}

// A batch of requests gives each the answer it gets alone, whatever type, shape and
// number of rows, and whichever outputs it wants. The model returns its inputs.
TEST(GatherScatterProperty, TogetherIsAsOneByOne) {
  for (unsigned seed = 0; seed < 2'000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    model::ModelSpec model;
    model.name = "echo";
    model.max_batch_rows = 64;
    const std::size_t tensors = 1 + random() % 3;
    for (std::size_t i = 0; i < tensors; ++i) {
      const auto dtype = static_cast<DType>(random() % tensor::kDTypes);
      model.inputs.push_back({.name = "t" + std::to_string(i), .dtype = dtype, .dims = {-1, 2}});
    }
    model.outputs = model.inputs;
    const auto middle = static_cast<std::int64_t>(random() % 3);

    std::vector<infer::RequestPtr> requests;
    for (std::size_t r = 1 + random() % 5; r > 0; --r) {
      auto request = std::make_unique<infer::Request>();
      const auto rows = static_cast<std::int64_t>(random() % 4);
      for (const auto& input : model.inputs) {
        std::string bytes;
        for (std::int64_t i = 0; i < rows * middle * 2; ++i) {
          if (input.dtype == DType::bytes) tensor::append_element(bytes, std::string(random() % 9, 'y'));
          for (std::size_t b = 0; b < element_size(input.dtype); ++b) bytes += static_cast<char>(random());
        }
        request->inputs.push_back({input.name, input.dtype, {rows, middle, 2}, memory(bytes)});
        if (random() % 2) request->wanted.insert(request->wanted.begin(), input.name);
      }
      ASSERT_TRUE(check_request(model, *request).ok());
      requests.push_back(std::move(request));
    }
    const auto run = [&](backend::Batch& batch) {
      ASSERT_TRUE(gather(model, default_pool(), batch).ok());
      batch.outputs = batch.inputs;
      ASSERT_TRUE(scatter(model, batch).ok());
    };

    std::vector<infer::Response> alone;
    for (auto& request : requests) {
      backend::Batch batch;
      batch.requests.push_back(std::move(request));
      run(batch);
      alone.push_back(std::move(batch.answers[0]));
      request = std::move(batch.requests[0]);
    }
    backend::Batch batch;
    batch.requests = std::move(requests);
    run(batch);
    ASSERT_EQ(batch.answers.size(), alone.size());
    for (std::size_t r = 0; r < alone.size(); ++r) {
      ASSERT_EQ(batch.answers[r].outputs.size(), alone[r].outputs.size());
      for (std::size_t i = 0; i < alone[r].outputs.size(); ++i) {
        const Tensor &one = alone[r].outputs[i], &together = batch.answers[r].outputs[i];
        ASSERT_EQ(together.name, one.name);
        ASSERT_EQ(together.shape, one.shape);
        ASSERT_EQ(text(together.data), text(one.data));
      }
    }
  }
}

}  // namespace
}  // namespace argosy::assemble
