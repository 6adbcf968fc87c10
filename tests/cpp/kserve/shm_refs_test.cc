// Requests whose tensors lie in regions, over both protocols, and the answers to them.

#include "kserve/shm_refs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "kserve/json_infer.h"
#include "kserve/proto_infer.h"
#include "kserve/wire.h"
#include "shm/shared_object.h"

namespace argosy::kserve {
namespace {

using ::testing::HasSubstr;

class ShmRefs : public ::testing::Test {
 protected:
  ShmRefs() {
    std::memcpy(object_.data(), "\1\0\0\0a\2\0\0\0bc", 11);
    EXPECT_TRUE(regions_.register_system("r", object_.key(), 0, 4096).ok());
  }

  Result<Decoded> json(const std::string& input_parameters, std::string_view dtype = "UINT8",
                       const std::string& outputs = "", const std::string& more = "") {
    const std::string body = R"({"inputs":[{"name":"x","datatype":")" + std::string(dtype) +
                             R"(","shape":[2],"parameters":{)" + input_parameters + "}" + more + R"(}],"outputs":[)" +
                             outputs + "]}";
    return decode_http_infer(Bytes::take(body), std::nullopt, "m", {}, default_pool(), &regions_);
  }
  std::string json_error(const std::string& input_parameters) { return json(input_parameters).status().message(); }

  static std::string field(std::uint32_t number, std::string_view body) {
    std::string text;
    WireWriter(text).bytes(number, body);
    return text;
  }
  static std::string reference(std::uint32_t in, std::string_view region, std::uint64_t offset, std::uint64_t size) {
    const auto number = [](std::uint64_t value) {
      std::string text;
      WireWriter(text).varint(2, value);
      return text;
    };
    const auto entry = [&](std::string_view key, const std::string& value) {
      return field(in, field(1, key) + field(2, value));
    };
    return entry("shared_memory_region", field(3, region)) + entry("shared_memory_offset", number(offset)) +
           entry("shared_memory_byte_size", number(size));
  }
  ModelInferCall proto(const std::string& message) {
    return decode_model_infer(Bytes::take(message), default_pool(), &regions_);
  }

  shm::SharedObject object_{4096};
  shm::Regions regions_;
};

constexpr const char* kTwoBytes = R"("shared_memory_region":"r","shared_memory_offset":4,"shared_memory_byte_size":2)";

TEST_F(ShmRefs, AnInputIsASliceOfItsRegion) {
  const auto decoded = json(kTwoBytes);
  ASSERT_TRUE(decoded.ok()) << decoded.status().message();
  const tensor::Tensor& input = decoded->request->inputs[0];
  std::memcpy(object_.data() + 4, "zz", 2);  // no copy: what is written now is seen
  EXPECT_EQ(input.data.bytes().view(), "zz");
  EXPECT_EQ(decoded->request->bytes, 0u);
  ASSERT_NE(decoded->regions, nullptr);
  EXPECT_EQ(decoded->regions->inputs[0]->status().name, "r");
}

TEST_F(ShmRefs, StringsAreCopiedBecauseTheirLengthsMustStay) {
  const auto decoded = json(R"("shared_memory_region":"r","shared_memory_byte_size":11)", "BYTES");
  ASSERT_TRUE(decoded.ok()) << decoded.status().message();
  std::memset(object_.data(), 0xff, 11);
  EXPECT_EQ(decoded->request->inputs[0].data.bytes().view(), std::string_view("\1\0\0\0a\2\0\0\0bc", 11));
  EXPECT_EQ(decoded->request->bytes, 11u);
}

TEST_F(ShmRefs, ARequestWithoutRegionsCarriesNothing) {
  const auto decoded =
      decode_http_infer(Bytes::take(R"({"inputs":[]})"), std::nullopt, "m", {}, default_pool(), &regions_);
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(decoded->regions, nullptr);
}

TEST_F(ShmRefs, JsonRefusesReferencesThatDoNotHold) {
  EXPECT_EQ(json_error(R"("shared_memory_region":"x","shared_memory_byte_size":2)"),
            "Unable to find shared memory region: 'x'");
  EXPECT_EQ(json_error(R"("shared_memory_region":"r","shared_memory_offset":4096,"shared_memory_byte_size":2)"),
            "Invalid offset for shared memory region: 'r'");
  EXPECT_EQ(json_error(R"("shared_memory_region":"r","shared_memory_offset":4095,"shared_memory_byte_size":2)"),
            "Invalid offset + byte size for shared memory region: 'r'");
  EXPECT_EQ(
      json_error(
          R"("shared_memory_region":"r","shared_memory_offset":1,"shared_memory_byte_size":18446744073709551615)"),
      "Invalid offset + byte size for shared memory region: 'r'");
  EXPECT_EQ(json_error(R"("shared_memory_region":"r")"),
            "'shared_memory_byte_size' must be specified along with 'shared_memory_region' parameter for tensor 'x'");
  EXPECT_THAT(json_error(R"("shared_memory_byte_size":2)"), HasSubstr("But no field is set"));
  EXPECT_THAT(json(kTwoBytes, "UINT8", "", R"(,"data":[1,2])").status().message(),
              HasSubstr("But set 'data' 'shared_memory_region'"));
  EXPECT_EQ(json("\"binary_data_size\":0,\"shared_memory_offset\":1").status().message(),
            "'shared_memory_offset' can not be specified without 'shared_memory_region' parameter for tensor 'x'");
  const auto disabled = decode_http_infer(
      Bytes::take(
          R"({"inputs":[],"outputs":[{"name":"y","parameters":{"shared_memory_region":"r","shared_memory_byte_size":1}}]})"),
      std::nullopt, "m", {}, default_pool());
  EXPECT_EQ(disabled.status().code(), StatusCode::unsupported);
  EXPECT_THAT(disabled.status().message(), HasSubstr("output 'y': Client shared memory is disabled."));
}

TEST_F(ShmRefs, AnOutputInARegionHasNoDataInTheAnswer) {
  const auto decoded = json(kTwoBytes, "UINT8", R"({"name":"y","parameters":{)" + std::string(kTwoBytes) + "}}");
  ASSERT_TRUE(decoded.ok()) << decoded.status().message();
  ASSERT_EQ(decoded->regions->outputs.size(), 1u);
  EXPECT_EQ(decoded->regions->outputs[0].name, "y");
  EXPECT_EQ(decoded->regions->outputs[0].slice.data, regions_.slice("r", 4, 2)->data);
  model::ModelSpec spec;
  spec.name = "m";
  infer::Response response;
  response.outputs.push_back({"y", tensor::DType::uint8, {2}, {}});
  const auto answer = encode_http_infer(response, decoded->plan, spec, "", default_pool());
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(answer->body.joined(),
            R"({"model_name":"m","model_version":"1","outputs":[{"name":"y","datatype":"UINT8","shape":[2]}]})");
  EXPECT_FALSE(answer->header_length.has_value());
}

TEST_F(ShmRefs, AnInputInARegionConsumesNoRawEntry) {
  const auto call =
      proto(field(1, "m") + field(5, field(1, "x") + field(2, "UINT8") + field(3, "\x02") + reference(4, "r", 4, 2)) +
            field(5, field(1, "w") + field(2, "UINT8") + field(3, "\x03")) +
            field(6, field(1, "y") + reference(2, "r", 0, 8)) + field(7, "raw"));
  ASSERT_TRUE(call.status.ok()) << call.status.message();
  EXPECT_EQ(call.request->inputs[0].data.owner(), regions_.slice("r", 0, 1)->region);
  EXPECT_EQ(call.request->inputs[1].data.bytes().view(), "raw");
  EXPECT_EQ(call.request->bytes, 3u);
  ASSERT_EQ(call.regions->outputs.size(), 1u);
  EXPECT_TRUE(call.plan.outputs[0].in_region);
}

TEST_F(ShmRefs, ProtoRefusesReferencesThatDoNotHold) {
  const auto error = [&](const std::string& region, std::uint64_t offset, std::uint64_t size) {
    return proto(field(1, "m") +
                 field(5, field(1, "x") + field(2, "UINT8") + field(3, "\x02") + reference(4, region, offset, size)))
        .status.message();
  };
  EXPECT_EQ(error("x", 0, 2), "Unable to find shared memory region: 'x'");
  EXPECT_EQ(error("r", static_cast<std::uint64_t>(-1), 2), "Invalid offset for shared memory region: 'r'");
  EXPECT_EQ(error("r", 1, static_cast<std::uint64_t>(-1)), "Invalid offset + byte size for shared memory region: 'r'");
}

}  // namespace
}  // namespace argosy::kserve
