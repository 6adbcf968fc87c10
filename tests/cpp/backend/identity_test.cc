#include "backend/identity/identity.h"

#include <gtest/gtest.h>

namespace argosy::backend {
namespace {

model::ModelSpec two_in_two_out() {
  model::ModelSpec spec;
  spec.name = "m";
  spec.inputs = {{"INPUT0", tensor::DType::int32, {2}}, {"INPUT1", tensor::DType::bytes, {1}}};
  spec.outputs = {{"OUTPUT0", tensor::DType::int32, {2}}, {"OUTPUT1", tensor::DType::bytes, {1}}};
  return spec;
}

Status load(model::ModelSpec spec) {
  return make_identity_backend()->load(std::make_shared<const model::ModelSpec>(std::move(spec)), {}).status();
}

TEST(Identity, OutputsAreTheInputsMemoryByPosition) {
  auto loaded = make_identity_backend()->load(std::make_shared<const model::ModelSpec>(two_in_two_out()), {});
  ASSERT_TRUE(loaded.ok());
  auto instance = (*loaded)->make_instance({});
  ASSERT_TRUE(instance.ok());
  Batch batch;
  batch.inputs = {{"INPUT0", tensor::DType::int32, {2}, device::Memory(Bytes::copy_of("12345678"))},
                  {"INPUT1", tensor::DType::bytes, {1}, device::Memory(Bytes::copy_of(std::string(4, '\0')))}};
  batch.wanted = {true, true};
  ASSERT_TRUE((*instance)->execute(batch).ok());
  ASSERT_EQ(batch.outputs.size(), 2u);
  EXPECT_EQ(batch.outputs[0].name, "OUTPUT0");
  EXPECT_EQ(batch.outputs[0].data.data(), batch.inputs[0].data.data());
  EXPECT_EQ(batch.outputs[1].data.data(), batch.inputs[1].data.data());
}

TEST(Identity, RefusesOutputsItCannotGive) {
  auto more = two_in_two_out();
  more.inputs.pop_back();
  EXPECT_EQ(load(more), invalid_argument("backend 'identity': model 'm' has 2 outputs, but only 1 inputs"));
  auto other = two_in_two_out();
  other.outputs[1].dtype = tensor::DType::fp32;
  EXPECT_EQ(load(other), invalid_argument("backend 'identity': model 'm': output 'OUTPUT1' is FP32, but input "
                                          "'INPUT1' is BYTES"));
  auto delay = two_in_two_out();
  delay.parameters["execute_delay_ms"] = "soon";
  EXPECT_EQ(load(delay), invalid_argument("parameter 'execute_delay_ms' of model 'm': expected a whole number, got "
                                          "'soon'"));
}

TEST(Identity, ReturnsARaggedInputOnlyWhereItsOwnShapeCutsIt) {
  auto ragged = two_in_two_out();
  ragged.max_batch_rows = 8;
  ragged.inputs[0].ragged = true;
  EXPECT_EQ(
      load(ragged),
      invalid_argument("backend 'identity': model 'm': input 'INPUT0' is ragged, so output 'OUTPUT0' needs "
                       "batch_output { target_name: \"OUTPUT0\" kind: BATCH_SCATTER_WITH_INPUT_SHAPE source_input: "
                       "\"INPUT0\" }"));
  ragged.outputs[0].shaped_like = 1;
  EXPECT_FALSE(load(ragged).ok());
  ragged.outputs[0].shaped_like = 0;
  EXPECT_EQ(load(ragged), Status());
  ragged.batch_inputs = {{.name = "counts"}};
  EXPECT_EQ(load(ragged), unsupported("backend 'identity': model 'm': nothing reads batch input 'counts'; remove it"));
}

}  // namespace
}  // namespace argosy::backend
