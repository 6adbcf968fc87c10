#include "kserve/json_infer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

namespace argosy::kserve {
namespace {

using tensor::DType;
using ::testing::HasSubstr;
using ::testing::StartsWith;

Result<Decoded> decode_json(std::string body, std::optional<std::string_view> header = std::nullopt) {
  return decode_http_infer(Bytes::take(std::move(body)), header, "m", {}, default_pool());
}

Status error_of(std::string body, std::optional<std::string_view> header = std::nullopt) {
  return decode_json(std::move(body), header).status();
}

std::string one_input(std::string_view dtype, std::string_view shape, std::string_view data) {
  return R"({"inputs":[{"name":"x","datatype":")" + std::string(dtype) + R"(","shape":)" + std::string(shape) +
         R"(,"data":)" + std::string(data) + "}]}";
}

template <class T>
std::vector<T> elements(const tensor::Tensor& tensor) {
  std::vector<T> out(tensor.data.size() / sizeof(T));
  if (!out.empty()) std::memcpy(out.data(), tensor.data.data(), tensor.data.size());
  return out;
}

template <class T>
std::vector<T> decoded(std::string_view dtype, std::string_view shape, std::string_view data) {
  auto got = decode_json(one_input(dtype, shape, data));
  EXPECT_TRUE(got.ok()) << got.status().message();
  if (!got.ok()) return {};
  return elements<T>(got->request->inputs[0]);
}

template <class T>
tensor::Tensor tensor_of(std::string name, DType dtype, tensor::Shape shape, const std::vector<T>& values) {
  return {std::move(name), dtype, std::move(shape), device::Memory(Bytes::copy_of(std::as_bytes(std::span(values))))};
}

model::ModelSpec spec_with(std::vector<std::string> outputs, std::uint32_t max_batch = 0) {
  model::ModelSpec spec;
  spec.name = "m";
  spec.version = 3;
  spec.max_batch_rows = max_batch;
  for (auto& name : outputs) spec.outputs.push_back({.name = name});
  return spec;
}

std::string encoded(const infer::Response& response, const OutputPlan& plan = {}, std::string_view id = {}) {
  auto answer = encode_http_infer(response, plan, spec_with({"y", "z"}), id, default_pool());
  EXPECT_TRUE(answer.ok()) << answer.status().message();
  return answer.ok() ? answer->body.joined() : "";
}

TEST(JsonInfer, FlattensDataWhateverItsNesting) {
  const std::vector<float> expected{1, 2.5, -3, 4e2f};
  EXPECT_EQ(decoded<float>("FP32", "[2,2]", "[1,2.5,-3,4e2]"), expected);
  EXPECT_EQ(decoded<float>("FP32", "[2,2]", "[[1,2.5],[-3,4e2]]"), expected);
  EXPECT_EQ(decoded<float>("FP32", "[2,2]", " [ [ [1 , 2.5,-3] ] , [ ] ,\n4e2 ] "), expected);
}

TEST(JsonInfer, ReadsEveryDatatype) {
  EXPECT_EQ(decoded<std::uint8_t>("BOOL", "[2]", "[true,false]"), (std::vector<std::uint8_t>{1, 0}));
  EXPECT_EQ(decoded<std::uint8_t>("UINT8", "[2]", "[0,255]"), (std::vector<std::uint8_t>{0, 255}));
  EXPECT_EQ(decoded<std::uint16_t>("UINT16", "[1]", "[65535]"), (std::vector<std::uint16_t>{65535}));
  EXPECT_EQ(decoded<std::uint32_t>("UINT32", "[1]", "[4294967295]"), (std::vector<std::uint32_t>{4294967295u}));
  EXPECT_EQ(decoded<std::uint64_t>("UINT64", "[1]", "[18446744073709551615]"),
            (std::vector<std::uint64_t>{UINT64_MAX}));
  EXPECT_EQ(decoded<std::int8_t>("INT8", "[2]", "[-128,127]"), (std::vector<std::int8_t>{-128, 127}));
  EXPECT_EQ(decoded<std::int16_t>("INT16", "[1]", "[-32768]"), (std::vector<std::int16_t>{-32768}));
  EXPECT_EQ(decoded<std::int32_t>("INT32", "[1]", "[-2147483648]"), (std::vector<std::int32_t>{INT32_MIN}));
  EXPECT_EQ(decoded<std::int64_t>("INT64", "[1]", "[-9223372036854775808]"), (std::vector<std::int64_t>{INT64_MIN}));
  EXPECT_EQ(decoded<std::uint16_t>("FP16", "[2]", "[1,-2.5]"), (std::vector<std::uint16_t>{0x3c00, 0xc100}));
  EXPECT_EQ(decoded<std::uint16_t>("BF16", "[1]", "[1.0]"), (std::vector<std::uint16_t>{0x3f80}));
  EXPECT_EQ(decoded<double>("FP64", "[1]", "[0.1]"), (std::vector<double>{0.1}));
  auto text = decode_json(one_input("BYTES", "[3]", R"(["a","","\u00fc\ud83d\ude00\n"])"));
  ASSERT_TRUE(text.ok());
  EXPECT_EQ(text->request->inputs[0].data.bytes().view(),
            std::string("\x01\0\0\0a\0\0\0\0\x07\0\0\0\xc3\xbc\xf0\x9f\x98\x80\n", 20));
}

TEST(JsonInfer, AcceptsNanAndInfinityLiterals) {
  const auto got = decoded<float>("FP32", "[3]", "[NaN,Infinity,-Infinity]");
  ASSERT_EQ(got.size(), 3u);
  EXPECT_TRUE(std::isnan(got[0]));
  EXPECT_EQ(got[1], HUGE_VALF);
  EXPECT_EQ(got[2], -HUGE_VALF);
}

TEST(JsonInfer, NamesTheElementThatDoesNotFitItsType) {
  EXPECT_THAT(error_of(one_input("UINT8", "[2]", "[1,300]")).message(),
              HasSubstr("element 1 of input 'x' is out of range for UINT8: got 300"));
  EXPECT_THAT(error_of(one_input("UINT32", "[1]", "[-1]")).message(),
              HasSubstr("element 0 of input 'x' is out of range for UINT32"));
  EXPECT_THAT(error_of(one_input("INT64", "[1]", "[9223372036854775808]")).message(),
              HasSubstr("out of range for INT64"));
  EXPECT_THAT(error_of(one_input("FP16", "[1]", "[70000]")).message(), HasSubstr("out of range for FP16"));
  EXPECT_THAT(error_of(one_input("FP32", "[1]", "[1e39]")).message(), HasSubstr("out of range for FP32"));
  EXPECT_THAT(error_of(one_input("INT32", "[1]", "[1.0]")).message(),
              HasSubstr("should be an integer, got a number (1.0)"));
  EXPECT_THAT(error_of(one_input("FP32", "[1]", R"(["1"])")).message(), HasSubstr("should be a number, got a string"));
  EXPECT_THAT(error_of(one_input("BOOL", "[1]", "[1]")).message(), HasSubstr("should be true or false, got a number"));
}

TEST(JsonInfer, CountsElementsAgainstTheShape) {
  EXPECT_THAT(error_of(one_input("FP32", "[1]", "[1,2]")).message(),
              HasSubstr("Shape does not match true shape of 'data' field"));
  EXPECT_THAT(error_of(one_input("FP32", "[3]", "[1,2]")).message(),
              HasSubstr("Failed to parse 'data' field: shape does not match true shape"));
  EXPECT_THAT(error_of(one_input("BYTES", "[3]", R"(["a"])")).message(), HasSubstr("shape does not match true shape"));
}

TEST(JsonInfer, DoesNotLookAtDataOfAnEmptyTensor) {
  auto got = decode_json(one_input("FP32", "[0,4]", R"(["what",{}])"));
  ASSERT_TRUE(got.ok()) << got.status().message();
  EXPECT_TRUE(got->request->inputs[0].data.empty());
}

TEST(JsonInfer, TakesTheMembersOfAnInputInAnyOrder) {
  auto got = decode_json(R"({"inputs":[{"data":[[1],[2]],"shape":[2],"datatype":"INT32","name":"x"}]})");
  ASSERT_TRUE(got.ok()) << got.status().message();
  EXPECT_EQ(elements<std::int32_t>(got->request->inputs[0]), (std::vector<std::int32_t>{1, 2}));
}

TEST(JsonInfer, MalformedJsonNamesTheOffset) {
  for (const std::string body : {"{", "[]x", "{\"inputs\":[}", "{\"inputs\":[]}}", "{\"a\" 1}", "nul", "{\"a\":tru}",
                                 "\"", "{\"inputs\":[{\"name\":\"\\x\"}]}"}) {
    const Status status = error_of(body);
    EXPECT_EQ(status.code(), StatusCode::invalid_argument) << body;
    EXPECT_THAT(status.message(), HasSubstr(" at ")) << body;
  }
  EXPECT_THAT(error_of(R"({"inputs":[]} x)").message(),
              StartsWith("failed to parse the request JSON buffer: unexpected text after the JSON document at 14"));
}

TEST(JsonInfer, WrongTypesNameThePlaceAndTheExpectation) {
  EXPECT_EQ(error_of(R"({"id":7,"inputs":[]})").message(),
            "Unable to parse 'id': expected a string, got a number at offset 6");
  EXPECT_THAT(error_of("{}").message(), StartsWith("Unable to parse 'inputs'"));
  EXPECT_THAT(error_of(R"({"inputs":{}})").message(),
              StartsWith("Unable to parse 'inputs': expected an array, got an object"));
  EXPECT_THAT(error_of(R"({"inputs":[{"name":"x","shape":[1],"data":[1]}]})").message(),
              StartsWith("Unable to parse 'datatype'"));
  EXPECT_THAT(error_of(one_input("FP32", "[-1]", "[1]")).message(),
              StartsWith("Unable to parse 'shape': expected a non-negative integer, got -1"));
  EXPECT_THAT(error_of(one_input("FP31", "[1]", "[1]")).message(), HasSubstr("invalid datatype for input x"));
}

TEST(JsonInfer, AnInputHasExactlyOneSource) {
  EXPECT_THAT(error_of(R"({"inputs":[{"name":"x","datatype":"FP32","shape":[1]}]})").message(),
              HasSubstr("But no field is set"));
  EXPECT_THAT(
      error_of(
          R"({"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1],"parameters":{"binary_data_size":4}}]})")
          .message(),
      HasSubstr("But set 'data' 'binary_data_size'"));
}

TEST(JsonInfer, DeepNestingIsACleanError) {
  const std::string deep(100000, '[');
  EXPECT_THAT(error_of(deep).message(), StartsWith("Unable to parse 'request'"));
  EXPECT_THAT(error_of("{\"x\":" + deep).message(),
              HasSubstr("JSON nesting depth exceeds maximum allowed limit (100)"));
  EXPECT_THAT(error_of(one_input("FP32", "[1]", deep)).message(),
              HasSubstr("JSON nesting depth exceeds maximum allowed limit (100)"));
  EXPECT_TRUE(decode_json(one_input("FP32", "[1]", std::string(100, '[') + "1" + std::string(100, ']'))).ok());
}

TEST(JsonInfer, HugeShapesAskForNoMemory) {
  EXPECT_THAT(error_of(one_input("FP32", "[4611686018427387904]", "[1]")).message(),
              HasSubstr("exceeds the maximum allowed value"));
  EXPECT_THAT(error_of(one_input("FP32", "[4294967296,4294967296]", "[1]")).message(),
              HasSubstr("causes total element count to exceed maximum size of 9223372036854775807"));
  EXPECT_THAT(error_of(one_input("INT8", "[60000000]", "[1]")).message(), HasSubstr("shape does not match true shape"));
  const std::string head =
      R"({"inputs":[{"name":"x","datatype":"FP32","shape":[4294967296,4294967297],"parameters":{"binary_data_size":4}}]})";
  EXPECT_THAT(error_of(head + "abcd", std::to_string(head.size())).message(), HasSubstr("causes total element count"));
}

TEST(JsonInfer, BinaryPayloadsAreSlicesOfTheBodyInOrder) {
  const std::string head =
      R"({"inputs":[{"name":"a","datatype":"UINT8","shape":[3],"parameters":{"binary_data_size":3}},)"
      R"({"name":"b","datatype":"INT32","shape":[1],"data":[7]},)"
      R"({"name":"c","datatype":"UINT8","shape":[2],"parameters":{"binary_data_size":2}}],)"
      R"("outputs":[{"name":"y","parameters":{"binary_data":true}},{"name":"z","parameters":{"classification":2}}]})";
  const Bytes body = Bytes::copy_of(head + "abcde");
  auto got = decode_http_infer(body, std::to_string(head.size()), "m", {}, default_pool());
  ASSERT_TRUE(got.ok()) << got.status().message();
  const auto& inputs = got->request->inputs;
  EXPECT_EQ(inputs[0].data.bytes().view(), "abc");
  EXPECT_EQ(inputs[2].data.bytes().view(), "de");
  EXPECT_EQ(inputs[0].data.data(), body.data() + head.size());
  EXPECT_EQ(inputs[0].data.owner(), body.owner());
  EXPECT_EQ(got->request->bytes, 9u);
  EXPECT_EQ(got->request->wanted, (std::vector<std::string>{"y", "z"}));
  EXPECT_TRUE(got->plan.outputs[0].binary);
  EXPECT_EQ(got->plan.outputs[1].classification, 2u);

  EXPECT_EQ(error_of(head + "abc", std::to_string(head.size())).message(),
            "unexpected size for input 'c', expecting 2 additional bytes for model 'm'");
  EXPECT_THAT(error_of(head + "abcdef", std::to_string(head.size())).message(),
              StartsWith("unexpected additional input data for model 'm'"));
}

TEST(JsonInfer, ChecksTheHeaderLength) {
  EXPECT_EQ(error_of("{}", "x1").message(), "Unable to parse Inference-Header-Content-Length, got: x1");
  EXPECT_EQ(error_of("{}", "3").message(), "inference header size should be in range (0, 2), got: 3");
  EXPECT_EQ(error_of("{}", "-1").message(), "inference header size should be in range (0, 2), got: -1");
}

TEST(JsonInfer, AHeaderLengthOfZeroIsARawRequest) {
  auto got = decode_json("abcd", "0");
  ASSERT_TRUE(got.ok());
  EXPECT_TRUE(got->request->raw_input);
  EXPECT_TRUE(got->plan.binary_default);
  EXPECT_EQ(got->request->inputs.at(0).data.bytes().view(), "abcd");
  EXPECT_TRUE(decode_json("")->request->raw_input);
}

TEST(JsonInfer, KeepsToTheInputLimit) {
  const JsonLimits small{.max_input_bytes = 64};
  const auto message = [&](std::string body, std::optional<std::string_view> header = std::nullopt) {
    return decode_http_infer(Bytes::take(std::move(body)), header, "m", small, default_pool()).status().message();
  };
  EXPECT_THAT(
      message(std::string(65, ' ')),
      StartsWith("request JSON size of 65 bytes exceeds the maximum allowed input size of 64 bytes. Use --http-max"));
  EXPECT_THAT(message(std::string(65, 'x'), "0"), StartsWith("Raw input has a byte_size (65 bytes) that exceeds"));
}

TEST(JsonInfer, SortsParametersIntoTheirPlaces) {
  auto got = decode_json(
      R"({"id":"7","parameters":{"sequence_id":5,"sequence_start":true,"priority":2,"timeout":9,"s":"t","i":-3,"b":false,
                       "d":1.5,"binary_data_output":true},"inputs":[]})");
  ASSERT_TRUE(got.ok()) << got.status().message();
  const infer::Request& request = *got->request;
  EXPECT_EQ(request.id, "7");
  EXPECT_EQ(request.sequence.id, infer::SequenceId(std::uint64_t{5}));
  EXPECT_TRUE(request.sequence.start);
  EXPECT_EQ(request.priority, 2u);
  EXPECT_EQ(request.timeout_us, 9u);
  EXPECT_EQ(request.parameters,
            (infer::Parameters{{"s", std::string("t")}, {"i", std::int64_t{-3}}, {"b", false}, {"d", 1.5}}));
  EXPECT_TRUE(got->plan.binary_default);
  EXPECT_EQ(decode_json(R"({"parameters":{"sequence_id":"a"},"inputs":[]})")->request->sequence.id,
            infer::SequenceId(std::string("a")));
  EXPECT_THAT(error_of(R"({"parameters":{"k":null},"inputs":[]})").message(),
              HasSubstr("parameter 'k' has invalid type. It should be either 'int', 'bool', or 'string'."));
  EXPECT_THAT(error_of(R"({"parameters":{"triton_x":1},"inputs":[]})").message(),
              StartsWith("parameter keys starting with 'triton_'"));
  EXPECT_THAT(error_of(R"({"parameters":{"priority":-1},"inputs":[]})").message(),
              StartsWith("Unable to parse 'priority'"));
}

TEST(JsonInfer, SharedMemoryIsRefusedByName) {
  const Status input = error_of(
      R"({"inputs":[{"name":"x","datatype":"FP32","shape":[1],"parameters":{"shared_memory_region":"r","shared_memory_byte_size":4}}]})");
  EXPECT_EQ(input.code(), StatusCode::unsupported);
  EXPECT_THAT(input.message(), HasSubstr("input 'x': Client shared memory is disabled"));
  EXPECT_EQ(
      error_of(R"({"inputs":[],"outputs":[{"name":"y","parameters":{"shared_memory_region":"r","classification":1}}]})")
          .message(),
      "Output can't set both 'shared_memory_region' and 'classification'");
}

TEST(JsonInfer, WritesKeysInTheProtocolsOrder) {
  infer::Response response;
  response.outputs.push_back(tensor_of<float>("y", DType::fp32, {1, 2}, {0.1f, -1}));
  response.parameters = {{"n", std::int64_t{4}}, {"f", 0.5}};
  EXPECT_EQ(encoded(response, {}, "a\"b"),
            R"({"id":"a\"b","model_name":"m","model_version":"3","parameters":{"n":4,"f":0.5},)"
            R"("outputs":[{"name":"y","datatype":"FP32","shape":[1,2],"data":[0.10000000149011612,-1.0]}]})");
  EXPECT_EQ(encoded({}), R"({"model_name":"m","model_version":"3","outputs":[]})");
}

TEST(JsonInfer, OutputsComeInTheRequestsOrderElseTheConfigurations) {
  infer::Response response;
  response.outputs.push_back(tensor_of<std::uint8_t>("z", DType::boolean, {1}, {1}));
  response.outputs.push_back(tensor_of<std::int8_t>("y", DType::int8, {1}, {-5}));
  EXPECT_THAT(encoded(response), HasSubstr(R"([{"name":"y","datatype":"INT8","shape":[1],"data":[-5]},{"name":"z")"));
  EXPECT_THAT(encoded(response, {.outputs = {{.name = "z"}, {.name = "y"}}}),
              HasSubstr(R"([{"name":"z","datatype":"BOOL","shape":[1],"data":[true]},{"name":"y")"));
}

TEST(JsonInfer, BinaryOutputsFollowTheJsonUncopied) {
  infer::Response response;
  response.outputs.push_back(tensor_of<std::uint8_t>("y", DType::uint8, {3}, {65, 66, 67}));
  response.outputs.push_back(tensor_of<std::uint8_t>("z", DType::uint8, {1}, {9}));
  const OutputPlan plan{.outputs = {{.name = "y", .binary = true}, {.name = "z"}}, .binary_default = true};
  auto answer = encode_http_infer(response, plan, spec_with({"y", "z"}), "", default_pool());
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(answer->content_type, "application/octet-stream");
  const std::string text = answer->body.joined();
  EXPECT_EQ(answer->header_length, text.size() - 3);
  EXPECT_EQ(text.substr(*answer->header_length), "ABC");
  EXPECT_EQ(answer->body.pieces.back().data(), response.outputs[0].data.data());
  EXPECT_THAT(
      text,
      HasSubstr(
          R"("shape":[3],"parameters":{"binary_data_size":3}},{"name":"z","datatype":"UINT8","shape":[1],"data":[9]}]})"));
}

TEST(JsonInfer, EmptyBinaryOutputsAloneAreSentAsJson) {
  infer::Response response;
  response.outputs.push_back(tensor_of<float>("y", DType::fp32, {0}, {}));
  auto answer = encode_http_infer(response, {.binary_default = true}, spec_with({"y"}), "", default_pool());
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(answer->content_type, "application/json");
  EXPECT_FALSE(answer->header_length);
  EXPECT_THAT(answer->body.joined(), HasSubstr("\"binary_data_size\":0"));
}

TEST(JsonInfer, ClassifiesAnOutput) {
  infer::Response response;
  response.outputs.push_back(tensor_of<float>("y", DType::fp32, {3}, {1.1f, 3.3f, 2.2f}));
  EXPECT_THAT(encoded(response, {.outputs = {{.name = "y", .classification = 2}}}),
              HasSubstr(R"({"name":"y","datatype":"BYTES","shape":[2],"data":["3.300000:1","2.200000:2"]})"));
}

// The law: numbers of every type that were written come back as the same bits.
TEST(JsonInfer, WrittenTensorsReadBackBitForBit) {
  std::mt19937_64 random(11);
  for (std::size_t d = 0; d < tensor::kDTypes; ++d) {
    const auto dtype = static_cast<DType>(d);
    if (dtype == DType::bytes) continue;
    const std::size_t size = tensor::element_size(dtype);
    std::vector<std::uint8_t> bytes(size * 500);
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(dtype == DType::boolean ? random() % 2 : random());
    // Keep exponents below all ones: NaN has many patterns.
    for (std::size_t i = 0; i < 500; ++i) {
      auto& top = bytes[i * size + size - 1];
      if (dtype >= DType::fp16 && dtype <= DType::fp64) top = static_cast<std::uint8_t>(top & 0xbb);
    }
    infer::Response response;
    response.outputs.push_back(tensor_of("y", dtype, {500}, bytes));
    const std::string text = encoded(response);
    const std::size_t data = text.find("\"data\":") + 7;
    const std::string array = text.substr(data, text.size() - data - 3);
    SCOPED_TRACE(tensor::to_string(dtype));
    EXPECT_EQ(decoded<std::uint8_t>(tensor::to_string(dtype), "[500]", array), bytes);
  }
}

TEST(JsonInfer, ErrorsAreOneEscapedString) {
  EXPECT_EQ(encode_error("a \"b\"\n\x01"), "{\"error\":\"a \\\"b\\\"\\n\\u0001\"}");
}

}  // namespace
}  // namespace argosy::kserve
