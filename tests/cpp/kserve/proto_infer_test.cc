#include "kserve/proto_infer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "kserve/fields.h"
#include "kserve/proto_calls.h"
#include "kserve/wire.h"

namespace argosy::kserve {
namespace {

using tensor::DType;
using ::testing::HasSubstr;

std::string number_field(std::uint32_t number, std::uint64_t value) {
  std::string text;
  WireWriter(text).varint(number, value);
  return text;
}
std::string parameter(std::uint32_t in, std::string_view key, std::string_view value) {
  return field(in, field(1, key) + field(2, value));
}
std::string input(std::string_view name, std::string_view dtype, std::string_view shape, std::string_view more = {}) {
  return field(5, field(1, name) + field(2, dtype) + field(3, shape) + std::string(more));
}

ModelInferCall decode_proto(std::string text) {
  return decode_model_infer(Bytes::take(std::move(text)), default_pool());
}
std::string proto_error_of(std::string text) { return decode_proto(std::move(text)).status.message(); }

TEST(ProtoInfer, RawContentsAreSlicesOfTheMessage) {
  const Bytes text =
      Bytes::copy_of(field(1, "m") + field(2, "2") + field(3, "id7") + input("x", "UINT8", "\x03") +
                     input("y", "UINT8", "\x02") + field(6, field(1, "out")) + field(7, "abc") + field(7, "de"));
  const ModelInferCall call = decode_model_infer(text, default_pool());
  ASSERT_TRUE(call.status.ok()) << call.status.message();
  EXPECT_EQ(call.model_name, "m");
  EXPECT_EQ(call.model_version, "2");
  EXPECT_EQ(call.request->id, "id7");
  const auto& inputs = call.request->inputs;
  ASSERT_EQ(inputs.size(), 2u);
  EXPECT_EQ(inputs[0].data.bytes().view(), "abc");
  EXPECT_EQ(inputs[1].data.bytes().view(), "de");
  EXPECT_EQ(inputs[0].data.owner(), text.owner());
  EXPECT_EQ(inputs[0].shape, tensor::Shape({3}));
  EXPECT_EQ(call.request->bytes, 5u);
  EXPECT_EQ(call.request->wanted, std::vector<std::string>{"out"});
}

TEST(ProtoInfer, ReadsTypedContentsPackedAndUnpacked) {
  const auto bytes_of = [](std::string_view dtype, const std::string& contents) {
    const ModelInferCall call = decode_proto(field(1, "m") + input("x", dtype, "\x02", field(5, contents)));
    EXPECT_TRUE(call.status.ok()) << dtype << " " << call.status.message();
    return call.status.ok() ? std::string(call.request->inputs[0].data.bytes().view()) : "";
  };
  EXPECT_EQ(bytes_of("BOOL", field(1, std::string_view("\1\0", 2))), std::string("\1\0", 2));
  EXPECT_EQ(bytes_of("BOOL", number_field(1, 1) + number_field(1, 0)), std::string("\1\0", 2));
  EXPECT_EQ(bytes_of("INT8", field(2, "\xac\x02\x05")), std::string("\x2c\x05"));
  EXPECT_EQ(bytes_of("INT16", number_field(2, static_cast<std::uint64_t>(-2)) + field(2, "\x01")),
            std::string("\xfe\xff\x01\0", 4));
  EXPECT_EQ(bytes_of("UINT64", field(5, "\x01\x02")), std::string("\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0", 16));
  EXPECT_EQ(bytes_of("FP32", field(6, std::string_view("\0\0\x80\x3f\0\0\0\x40", 8))),
            std::string("\0\0\x80\x3f\0\0\0\x40", 8));
  EXPECT_EQ(bytes_of("BYTES", field(8, "ab") + field(8, "")), std::string("\x02\0\0\0ab\0\0\0\0", 10));
}

TEST(ProtoInfer, RefusesDataGivenWrongly) {
  EXPECT_EQ(proto_error_of(field(1, "m") + input("x", "INT32", "\x01", field(5, field(2, "\x01"))) + field(7, "abcd")),
            "contents field must not be specified when using raw_input_contents for 'x' for model 'm'");
  EXPECT_EQ(proto_error_of(field(1, "m") + input("x", "INT32", "\x01")),
            "unable to find data for input tensor 'x' for model 'm' in request.");
  EXPECT_EQ(
      proto_error_of(field(1, "m") + input("x", "FP32", "\x01", field(5, field(2, "\x01")))),
      "unexpected explicit tensor data for input tensor 'x' for model 'm' of type 'INT32', expected datatype 'FP32'");
  EXPECT_EQ(proto_error_of(field(1, "m") + input("x", "INT32", "\x01", field(5, field(2, "\x01") + field(3, "\x01")))),
            "unexpected explicit tensor data for input tensor 'x' for model 'm', binary data was already supplied.");
  EXPECT_THAT(proto_error_of(field(1, "m") + input("x", "FP16", "\x01", field(5, field(2, "\x01")))),
              HasSubstr("cannot carry datatype 'FP16'"));
  EXPECT_THAT(proto_error_of(field(1, "m") + input("x", "FP33", "\x01")), HasSubstr("invalid datatype for input x"));
}

TEST(ProtoInfer, SortsRequestParametersIntoTheirPlaces) {
  const ModelInferCall call = decode_proto(
      parameter(4, "sequence_id", number_field(2, 5)) + parameter(4, "sequence_end", number_field(1, 1)) +
      parameter(4, "priority", number_field(5, 3)) + parameter(4, "timeout", number_field(2, 8)) +
      parameter(4, "triton_enable_empty_final_response", number_field(1, 1)) + parameter(4, "s", field(3, "t")) +
      parameter(4, "i", number_field(2, static_cast<std::uint64_t>(-1))) + parameter(4, "b", number_field(1, 0)));
  ASSERT_TRUE(call.status.ok()) << call.status.message();
  EXPECT_EQ(call.request->sequence.id, infer::SequenceId(std::uint64_t{5}));
  EXPECT_TRUE(call.request->sequence.end);
  EXPECT_EQ(call.request->priority, 3u);
  EXPECT_EQ(call.request->timeout_us, 8u);
  EXPECT_TRUE(call.request->wants_empty_final);
  EXPECT_EQ(call.request->parameters,
            (infer::Parameters{{"s", std::string("t")}, {"i", std::int64_t{-1}}, {"b", false}}));
}

TEST(ProtoInfer, RefusesParametersByTheProtocolsTexts) {
  EXPECT_EQ(proto_error_of(parameter(4, "sequence_id", number_field(5, 5))),
            "invalid value type for 'sequence_id' parameter, expected int64_param or string_param.");
  EXPECT_EQ(proto_error_of(parameter(4, "priority", number_field(2, static_cast<std::uint64_t>(-1)))),
            "invalid value for 'priority', expected value >= 0.");
  EXPECT_EQ(proto_error_of(parameter(4, "priority", field(3, "x"))),
            "invalid value type for 'priority' parameter, expected int64_param or uint64_param.");
  EXPECT_THAT(proto_error_of(parameter(4, "timeout", number_field(5, 1))),
              HasSubstr("invalid value type for 'timeout' parameter, expected int64_param"));
  EXPECT_THAT(proto_error_of(parameter(4, "triton_x", number_field(1, 1))),
              HasSubstr("are allowed: triton_enable_empty_final_response"));
  EXPECT_EQ(proto_error_of(parameter(4, "k", number_field(5, 1))),
            "invalid value type for 'k' parameter, expected int64_param, bool_param, or string_param.");
  EXPECT_EQ(proto_error_of(parameter(4, "k", "")),
            "invalid value type for 'k' parameter, expected int64_param, bool_param, or string_param.");
}

TEST(ProtoInfer, ChecksOutputAndSharedMemoryParameters) {
  const auto output = [](const std::string& more) { return field(6, field(1, "y") + more); };
  EXPECT_EQ(decode_proto(output(parameter(2, "classification", number_field(2, 3)))).plan.outputs.at(0).classification,
            3u);
  EXPECT_EQ(proto_error_of(output(parameter(2, "classification", number_field(2, 0)))),
            "invalid value for 'classification' parameter, expected >= 0");
  EXPECT_EQ(proto_error_of(output(parameter(2, "classification", field(3, "1")))),
            "invalid value type for 'classification' parameter, expected int64_param");
  EXPECT_EQ(proto_error_of(output(parameter(2, "shared_memory_region", field(3, "r")))),
            "'shared_memory_byte_size' must be specified along with 'shared_memory_region' parameter for tensor 'y'");
  EXPECT_EQ(proto_error_of(output(parameter(2, "shared_memory_offset", number_field(2, 1)))),
            "'shared_memory_offset' can not be specified without 'shared_memory_region' parameter for tensor 'y'");
  const std::string region =
      parameter(2, "shared_memory_region", field(3, "r")) + parameter(2, "shared_memory_byte_size", number_field(2, 4));
  EXPECT_EQ(decode_proto(output(region)).status.code(), StatusCode::unsupported);
  EXPECT_EQ(proto_error_of(output(region + parameter(2, "classification", number_field(2, 3)))),
            "output can't set both 'shared_memory_region' and 'classification'");
}

TEST(ProtoInfer, AFailureKeepsTheId) {
  const ModelInferCall call = decode_proto(field(3, "77") + input("x", "INT32", "\x01"));
  EXPECT_FALSE(call.status.ok());
  EXPECT_EQ(call.request->id, "77");
}

TEST(ProtoInfer, SkipsUnknownFieldsAndGroups) {
  std::string text = number_field(99, 5) + field(1, "m") + field(100, "zzz");
  WireWriter writer(text);
  for (int i = 0; i < 100000; ++i) writer.tag(50, WireType::start_group);
  for (int i = 0; i < 100000; ++i) writer.tag(50, WireType::end_group);
  const ModelInferCall call = decode_proto(text + field(3, "i"));
  EXPECT_TRUE(call.status.ok()) << call.status.message();
  EXPECT_EQ(call.request->id, "i");
}

// The law: any cut and any change of a byte ends in a status or a request, never beyond the message.
TEST(ProtoInfer, BrokenMessagesEndInAStatus) {
  const std::string whole = field(1, "m") + parameter(4, "k", field(3, "v")) +
                            input("x", "INT32", "\x01", field(5, field(2, "\x01"))) +
                            field(6, field(1, "y") + parameter(2, "classification", number_field(2, 3)));
  for (std::size_t size = 0; size < whole.size(); ++size) (void)decode_proto(whole.substr(0, size));
  std::mt19937 random(3);
  for (int i = 0; i < 20000; ++i) {
    std::string text = whole;
    for (int k = 0; k < 3; ++k) text[random() % text.size()] = static_cast<char>(random());
    (void)decode_proto(std::move(text));
  }
  EXPECT_THAT(proto_error_of("\xff\xff\xff"), HasSubstr("not a valid protobuf ModelInferRequest"));
}

model::ModelSpec spec() {
  model::ModelSpec out;
  out.name = "m";
  out.version = 3;
  out.outputs = {{.name = "y"}, {.name = "z"}};
  return out;
}

TEST(ProtoInfer, WritesOutputsAsRawContents) {
  infer::Response response;
  response.outputs.push_back({"z", DType::uint8, {2}, device::Memory(Bytes::copy_of(std::string_view("ab")))});
  response.outputs.push_back({"y", DType::bytes, {}, device::Memory(Bytes::copy_of(std::string(1000, 'c')))});
  auto gather = encode_model_infer(response, {}, spec(), "i");
  ASSERT_TRUE(gather.ok());
  EXPECT_EQ(gather->joined(), field(1, "m") + field(2, "3") + field(3, "i") +
                                  field(5, field(1, "y") + field(2, "BYTES")) +
                                  field(5, field(1, "z") + field(2, "UINT8") + field(3, "\x02")) +
                                  field(6, std::string(1000, 'c')) + field(6, "ab"));
  EXPECT_EQ(gather->size, gather->joined().size());
  bool shared = false;
  for (const Bytes& piece : gather->pieces) shared |= piece.data() == response.outputs[1].data.data();
  EXPECT_TRUE(shared) << "a large tensor must leave from its own memory";
}

TEST(ProtoInfer, StreamMessagesWrapTheResponse) {
  infer::Response response;
  const std::string flag = parameter(4, "triton_final_response", number_field(1, 1));
  EXPECT_EQ(encode_stream_infer(response, {}, spec(), "", true)->joined(),
            field(2, field(1, "m") + field(2, "3") + flag));
  EXPECT_EQ(encode_stream_final("m", "", "i").joined(), field(2, field(1, "m") + field(3, "i") + flag));
  EXPECT_EQ(encode_stream_refusal("no", "i").joined(), field(1, "no") + field(2, field(3, "i")));
  EXPECT_EQ(encode_stream_failure("no", "m", "1", "i").joined(),
            field(1, "no") + field(2, field(1, "m") + field(2, "1") + field(3, "i") + flag));
}

TEST(ProtoCalls, AnswerHealthAndReflection) {
  EXPECT_EQ(encode_ready(true), "\x08\x01");
  EXPECT_EQ(encode_ready(false), "");
  EXPECT_EQ(encode_health(false), "\x08\x02");
  EXPECT_EQ(decode_model_ready(field(1, "m") + field(2, "4"))->version, "4");
  EXPECT_FALSE(decode_model_ready("\x0a\x05m").ok());
  auto question = decode_reflection(field(7, ""));
  ASSERT_TRUE(question.ok());
  EXPECT_EQ(question->question, ReflectionQuestion::list_services);
  EXPECT_EQ(encode_reflection_services(*question, {"a.B"}),
            field(2, field(7, "")) + field(6, field(1, field(1, "a.B"))));
}

}  // namespace
}  // namespace argosy::kserve
