#include "kserve/generate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace argosy::kserve {
namespace {

using tensor::DType;
using ::testing::HasSubstr;
using ::testing::StartsWith;

model::ModelSpec text_model() {
  model::ModelSpec spec;
  spec.name = "m";
  spec.version = 2;
  spec.inputs = {{.name = "text_input", .dtype = DType::bytes, .dims = {1}},
                 {.name = "ids", .dtype = DType::int32, .dims = {2, -1}},
                 {.name = "n", .dtype = DType::int32, .dims = {1}}};
  return spec;
}

Result<Decoded> decode_text(std::string body, const model::ModelSpec& spec = text_model()) {
  return decode_generate(Bytes::take(std::move(body)), spec, {}, default_pool());
}

TEST(Generate, KeysBecomeInputsOrParameters) {
  auto got =
      decode_text(R"({"id":"7","text_input":"hi","stream":false,"parameters":{"n":5,"temperature":0.5},"triton_x":1})");
  ASSERT_TRUE(got.ok()) << got.status().message();
  const infer::Request& request = *got->request;
  EXPECT_EQ(request.id, "7");
  ASSERT_EQ(request.inputs.size(), 2u);
  EXPECT_EQ(request.inputs[0].name, "text_input");
  EXPECT_EQ(request.inputs[0].shape, tensor::Shape({1}));
  EXPECT_EQ(request.inputs[0].data.bytes().view(), std::string("\x02\0\0\0hi", 6));
  EXPECT_EQ(request.inputs[1].data.bytes().view(), std::string("\x05\0\0\0", 4));
  EXPECT_EQ(request.parameters,
            (infer::Parameters{
                {"id", std::string("7")}, {"stream", false}, {"temperature", 0.5}, {"triton_x", std::int64_t{1}}}));
}

TEST(Generate, TheInnermostOpenDimensionTakesTheElements) {
  auto spec = text_model();
  EXPECT_EQ(decode_text(R"({"ids":[1,2,3,4,5,6]})", spec)->request->inputs[0].shape, tensor::Shape({2, 3}));
  spec.max_batch_rows = 8;
  EXPECT_EQ(decode_text(R"({"ids":[1,2,3,4,5,6]})", spec)->request->inputs[0].shape, tensor::Shape({1, 2, 3}));
  EXPECT_EQ(decode_text(R"({"text_input":["a","b"]})", spec)->request->inputs[0].shape, tensor::Shape({2, 1}));
  EXPECT_EQ(decode_text(R"({"ids":[]})", spec)->request->inputs[0].shape, tensor::Shape());
}

TEST(Generate, RefusesWhatItCannotPlace) {
  EXPECT_THAT(decode_text(R"({"ids":[1,2,3]})").status().message(),
              StartsWith("The schema can not convert input 'ids' to tensor with proper shape"));
  EXPECT_THAT(decode_text(R"({"n":[1,2]})").status().message(), StartsWith("The schema can not convert input 'n'"));
  EXPECT_THAT(decode_text(R"({"ids":[[1],[2]]})").status().message(), HasSubstr("flat array"));
  EXPECT_THAT(decode_text(R"({"n":"x"})").status().message(), HasSubstr("should be an integer, got a string"));
  EXPECT_THAT(decode_text(R"({"parameters":5})").status().message(),
              StartsWith("Expected JSON object for keyword: 'parameters'"));
  EXPECT_THAT(decode_text(R"({"parameters":{"k":null}})").status().message(),
              StartsWith("Converting keyword: 'parameters': parameter 'k' has invalid type"));
  EXPECT_THAT(decode_text(R"({"k":[1]})").status().message(), HasSubstr("has invalid type"));
  EXPECT_THAT(decode_text("{\"n\":1").status().message(), StartsWith("failed to parse the request JSON buffer"));
  auto spec = text_model();
  spec.inputs.push_back({.name = "parameters"});
  EXPECT_EQ(decode_text(R"({"parameters":{}})", spec).status().message(),
            "Keyword 'parameters' for nested schema also given as input tensor name");
}

TEST(Generate, AnswersAreSortedAndSingleElementsUnwrapped) {
  infer::Response response;
  const std::vector<std::int32_t> numbers{4, 5};
  response.outputs.push_back(
      {"text_output", DType::bytes, {1}, device::Memory(Bytes::copy_of(std::string_view("\x02\0\0\0ok", 6)))});
  response.outputs.push_back(
      {"ids", DType::int32, {2}, device::Memory(Bytes::copy_of(std::as_bytes(std::span(numbers))))});
  response.parameters = {{"done", true}};
  const auto json = encode_generate(response, text_model(), "7", default_pool());
  ASSERT_TRUE(json.ok());
  EXPECT_EQ(json->joined(),
            R"({"done":true,"id":"7","ids":[4,5],"model_name":"m","model_version":"2","text_output":"ok"})");
  EXPECT_EQ(as_event(*json).joined(), "data: " + json->joined() + "\n\n");
}

}  // namespace
}  // namespace argosy::kserve
