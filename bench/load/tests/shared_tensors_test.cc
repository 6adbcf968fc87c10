#include "load/shared_tensors.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "load/answer_check.h"
#include "load/options.h"

namespace argosy::load {
namespace {

const Target kTarget{"h:1", "m", ""};

ModelCard card() {
  ModelCard card;
  card.outputs = {{"Y", "INT32", {-1}}, {"Z", "INT32", {-1}}};
  return card;
}

std::vector<Sample> samples() {
  return {{{{"X", "UINT8", {3}, "abc"}}, std::nullopt}, {{{"X", "UINT8", {2}, "de"}}, std::nullopt}};
}

TEST(SharedTensors, HoldEachSamplesInputsAndRoomForItsOutputs) {
  std::string key;
  {
    const auto shared = SharedTensors::make(samples(), card(), 100);
    ASSERT_TRUE(shared.ok()) << shared.status().message();
    key = (*shared)->object().key;
    const auto& requests = (*shared)->requests();
    ASSERT_EQ(requests.size(), 2u);
    EXPECT_EQ(requests[0].inputs[0].offset, 0u);
    EXPECT_EQ(requests[0].outputs[1].tensor, "Z");
    EXPECT_EQ(requests[1].inputs[0].bytes, 2u);
    EXPECT_GE(requests[1].inputs[0].offset, requests[0].outputs[1].offset + 100);
    EXPECT_GE((*shared)->object().bytes, requests[1].outputs[1].offset + 100);
    EXPECT_EQ((*shared)->first_outputs()[0].size(), 100u);
    // The object's first bytes are the first input.
    EXPECT_EQ(std::string_view((*shared)->first_outputs()[0].data() - requests[0].outputs[0].offset, 3), "abc");
  }
  EXPECT_EQ(::shm_unlink(key.c_str()), -1) << "it is gone with its owner";
  EXPECT_EQ(errno, ENOENT);
}

TEST(SharedTensors, ARequestNamesPlacesInsteadOfBytes) {
  const SharedRequest places{"r", {{"X", 64, 3}}, {{"Y", 128, 100}}};
  const Exchange json = infer_exchange(Format::http_binary, kTarget, samples()[0], &places);
  EXPECT_EQ(json.body,
            R"({"inputs":[{"name":"X","shape":[3],"datatype":"UINT8","parameters":{"shared_memory_region":"r",)"
            R"("shared_memory_offset":64,"shared_memory_byte_size":3}}],"outputs":[{"name":"Y","parameters":)"
            R"({"shared_memory_region":"r","shared_memory_offset":128,"shared_memory_byte_size":100}}]})");
  EXPECT_EQ(json.head.find("Inference-Header"), std::string::npos);
  EXPECT_EQ(infer_exchange(Format::grpc, kTarget, samples()[0], &places).body.find("abc"), std::string::npos);
  const Exchange registers = register_exchange(false, kTarget, {"r", "/k", 256});
  EXPECT_EQ(registers.head.substr(0, 53), "POST /v2/systemsharedmemory/region/r/register HTTP/1.");
  EXPECT_EQ(registers.body, R"({"key":"/k","offset":0,"byte_size":256})");
}

TEST(SharedTensors, AnswersAreComparedWhereTheyLie) {
  std::string memory = "right and more";
  AnswerCheck check(Format::http_json, {"right"}, {memory});
  const std::string answer = R"({"outputs":[{"name":"Y","datatype":"UINT8","shape":[5]}]})";
  EXPECT_TRUE(check.check(0, answer, kNoHeaderLength).ok());
  memory[4] = 'x';
  EXPECT_FALSE(check.check(0, answer, kNoHeaderLength).ok());
  EXPECT_FALSE(AnswerCheck(Format::http_json, {std::nullopt}, {memory}).check(0, R"({"outputs":[]})", 0).ok());
  EXPECT_FALSE(AnswerCheck(Format::grpc, {std::nullopt}, {memory}).check(0, "", 0).ok());
}

TEST(SharedTensors, TheFlagIsReadAndCudaRefusedByName) {
  const auto parse = [](std::array<const char*, 4> words) { return parse_options(words); };
  EXPECT_TRUE(parse({"-m", "m", "--shared-memory", "system"})->shared_memory);
  EXPECT_FALSE(parse({"-m", "m", "--shared-memory", "none"})->shared_memory);
  EXPECT_EQ(parse({"-m", "m", "--output-shared-memory-size", "5"})->shared_output_bytes, 5u);
  EXPECT_EQ(parse({"-m", "m", "--shared-memory", "cuda"}).status().code(), StatusCode::unsupported);
}

}  // namespace
}  // namespace argosy::load
