// The codecs against messages that the official client made (tests/wire/make_golden.py).

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "kserve/json_infer.h"
#include "kserve/proto_infer.h"

namespace argosy::kserve {
namespace {

std::string unhex(const std::string& text) {
  std::string out;
  if (text == "-") return out;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2)
    out += static_cast<char>(std::stoi(text.substr(i, 2), nullptr, 16));
  return out;
}

std::vector<std::vector<std::string>> rows(const std::string& name) {
  const auto folder = std::filesystem::path(__FILE__).parent_path().parent_path().parent_path() / "wire";
  std::ifstream file(folder / name);
  std::vector<std::vector<std::string>> out;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    auto& row = out.emplace_back();
    for (std::string word; words >> word;) row.push_back(word);
  }
  EXPECT_GT(out.size(), 10u) << "golden file " << folder / name;
  return out;
}

TEST(Golden, RequestsOfTheGrpcClientDecodeToItsArrays) {
  for (const auto& row : rows("model_infer.txt")) {
    SCOPED_TRACE(row[0]);
    const ModelInferCall call = decode_model_infer(Bytes::take(unhex(row[1])), default_pool());
    ASSERT_TRUE(call.status.ok()) << call.status.message();
    EXPECT_EQ(call.model_name, "m");
    ASSERT_EQ(call.request->inputs.size(), 1u);
    EXPECT_EQ(call.request->inputs[0].shape, tensor::Shape({1, 3}));
    EXPECT_EQ(call.request->inputs[0].data.bytes().view(), unhex(row[2]));
    if (!row[0].starts_with("raw")) continue;
    EXPECT_EQ(call.model_version, "3");
    EXPECT_EQ(call.request->sequence.id, infer::SequenceId(std::uint64_t{7}));
    EXPECT_EQ(call.plan.outputs.at(0).classification, 2u);
  }
}

TEST(Golden, ResponsesAreTheBytesProtobufWrites) {
  model::ModelSpec spec;
  spec.name = "m";
  spec.version = 3;
  for (const auto& row : rows("model_infer_response.txt")) {
    SCOPED_TRACE(row[0]);
    infer::Response response;
    response.outputs.push_back({"y", *tensor::parse_dtype(row[0]), {1, 3}, device::Memory(Bytes::take(unhex(row[1])))});
    const auto gather = encode_model_infer(response, {}, spec, "i");
    ASSERT_TRUE(gather.ok());
    EXPECT_EQ(gather->joined(), unhex(row[2]));
  }
}

TEST(Golden, BodiesOfTheHttpClientDecodeToItsArrays) {
  for (const auto& row : rows("http_infer.txt")) {
    SCOPED_TRACE(row[0]);
    const auto header = row[1] == "-" ? std::nullopt : std::optional<std::string_view>(row[1]);
    const auto got = decode_http_infer(Bytes::take(unhex(row[2])), header, "m", {}, default_pool());
    ASSERT_TRUE(got.ok()) << got.status().message();
    EXPECT_EQ(got->request->id, "i");
    EXPECT_EQ(got->request->inputs.at(0).data.bytes().view(), unhex(row[3]));
    EXPECT_TRUE(got->plan.outputs.at(0).binary);
  }
}

}  // namespace
}  // namespace argosy::kserve
