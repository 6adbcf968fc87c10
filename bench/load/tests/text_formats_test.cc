#include <gtest/gtest.h>

#include <random>

#include "load/elements.h"
#include "load/json.h"
#include "load/model_card.h"
#include "load/proto_wire.h"
#include "load/server_statistics.h"

namespace argosy::load {
namespace {

TEST(Json, ReadsNestedValuesAndKeepsLargeIntegers) {
  auto json = parse_json(R"( {"a":[1,-2.5e3,true,null,"x\u00e9\ud83d\ude00\n"],"big":9223372036854775807} )");
  ASSERT_TRUE(json.ok()) << json.status().message();
  const Json& list = *json->find("a");
  ASSERT_EQ(list.items.size(), 5u);
  EXPECT_EQ(list.items[1].number(), -2500);
  EXPECT_TRUE(list.items[2].boolean);
  EXPECT_EQ(list.items[4].text, "x\xc3\xa9\xf0\x9f\x98\x80\n");
  EXPECT_EQ(json->find("big")->integer(), 9223372036854775807);
  EXPECT_EQ(json->find("missing"), nullptr);
}

TEST(Json, RefusesWhatIsNotJson) {
  for (const char* text : {"", "{", "[1,]", "{\"a\" 1}", "\"open", "1 2", "nul", "-", "[1e]", "{\"a\":1,}"}) {
    EXPECT_FALSE(parse_json(text).ok()) << text;
  }
  EXPECT_FALSE(parse_json(std::string(100'000, '[')).ok());
}

TEST(Json, AStringWrittenIsTheStringRead) {
  const std::string value("quote \" slash \\ tab \t zero \0 end", 33);
  std::string text;
  append_json_string(text, value);
  auto json = parse_json(text);
  ASSERT_TRUE(json.ok());
  EXPECT_EQ(json->text, value);
}

// Law: no byte string makes the reader leave its message or run on for ever.
TEST(ProtoWire, RandomBytesEndTheWalk) {
  std::mt19937_64 random(7);
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes(random() % 40, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    ProtoReader reader(bytes);
    std::size_t fields = 0;
    while (reader.next()) {
      ++fields;
      ASSERT_LE(reader.bytes().size(), bytes.size());
    }
    ASSERT_LE(fields, bytes.size());
  }
}

TEST(ProtoWire, FieldsWrittenAreFieldsRead) {
  std::string message;
  append_uint_field(message, 3, 1'234'567'890'123);
  append_bytes_field(message, 1000, "abc");
  ProtoReader reader(message);
  ASSERT_TRUE(reader.next());
  EXPECT_EQ(reader.field(), 3u);
  EXPECT_EQ(reader.varint(), 1'234'567'890'123u);
  ASSERT_TRUE(reader.next());
  EXPECT_EQ(reader.field(), 1000u);
  EXPECT_EQ(reader.bytes(), "abc");
  EXPECT_FALSE(reader.next());
  EXPECT_TRUE(reader.ok());
}

TEST(Elements, EveryDatatypeSurvivesTheWayThroughJson) {
  const struct {
    const char* datatype;
    const char* json;
  } cases[] = {{"BOOL", "true,false"},
               {"UINT8", "0,255"},
               {"INT8", "-128,127"},
               {"UINT16", "65535"},
               {"INT16", "-32768"},
               {"UINT32", "4294967295"},
               {"INT32", "-2147483648"},
               {"UINT64", "18446744073709551615"},
               {"INT64", "-9223372036854775808"},
               {"FP16", "0.5,-2,65504"},
               {"BF16", "0.5,-2"},
               {"FP32", "0.1,-3"},
               {"FP64", "0.1,1e+300"},
               {"BYTES", R"("a","","longer")"}};
  for (const auto& c : cases) {
    auto json = parse_json(std::string("[") + c.json + "]");
    ASSERT_TRUE(json.ok());
    auto bytes = elements_from_json(c.datatype, *json);
    ASSERT_TRUE(bytes.ok()) << c.datatype << ": " << bytes.status().message();
    std::string text;
    append_elements_as_json(text, c.datatype, *bytes);
    EXPECT_EQ(text, c.json) << c.datatype;
  }
}

TEST(Elements, ValuesOutsideTheDatatypeAreRefused) {
  const std::pair<const char*, const char*> cases[] = {
      {"UINT8", "[256]"}, {"INT8", "[1.5]"}, {"FP32", "[\"1\"]"}, {"BYTES", "[1]"}, {"NONE", "[1]"}};
  for (const auto& [datatype, text] : cases)
    EXPECT_FALSE(elements_from_json(datatype, *parse_json(text)).ok()) << datatype;
}

TEST(Elements, Base64IsDecoded) {
  EXPECT_EQ(*bytes_from_base64("aGVsbG8="), "hello");
  EXPECT_EQ(*bytes_from_base64("AAEC/w=="), std::string("\0\1\2\xff", 4));
  EXPECT_FALSE(bytes_from_base64("a*b").ok());
}

constexpr const char* kMetadata = R"({"name":"m","versions":["1"],"platform":"p",
  "inputs":[{"name":"A","datatype":"FP32","shape":[-1,16]}],"outputs":[{"name":"B","datatype":"INT64","shape":[-1]}]})";

TEST(ModelCard, IsTheSameFromJsonAndFromProtobuf) {
  std::string dims;
  append_varint(dims, static_cast<std::uint64_t>(-1));
  append_varint(dims, 16);
  std::string input;
  append_bytes_field(input, 1, "A");
  append_bytes_field(input, 2, "FP32");
  append_bytes_field(input, 3, dims);
  std::string output;
  append_bytes_field(output, 1, "B");
  append_bytes_field(output, 2, "INT64");
  append_uint_field(output, 3, static_cast<std::uint64_t>(-1));
  std::string message;
  append_bytes_field(message, 1, "m");
  append_bytes_field(message, 4, input);
  append_bytes_field(message, 5, output);

  auto json = model_card_from_json(kMetadata);
  auto proto = model_card_from_proto(message);
  ASSERT_TRUE(json.ok() && proto.ok());
  EXPECT_EQ(json->inputs, proto->inputs);
  EXPECT_EQ(json->outputs, proto->outputs);
  EXPECT_EQ(proto->inputs[0].shape, (std::vector<std::int64_t>{-1, 16}));
}

TEST(ModelCard, TheConfigurationDecidesWhetherTheFirstDimensionIsABatch) {
  auto card = *model_card_from_json(kMetadata);
  EXPECT_TRUE(card.batched());
  card.max_batch_size = max_batch_size_from_json(R"({"name":"m","max_batch_size":0})");
  EXPECT_FALSE(card.batched());
  std::string config;
  append_uint_field(config, 4, 64);
  std::string response;
  append_bytes_field(response, 1, config);
  EXPECT_EQ(max_batch_size_from_proto(response), 64);
  EXPECT_EQ(max_batch_size_from_json(R"({"error":"no"})"), std::nullopt);
}

TEST(ServerStatistics, AreTheSameFromJsonAndFromProtobufAndSumVersions) {
  const char* json = R"({"model_stats":[
    {"name":"m","version":"1","inference_count":10,"execution_count":2,
     "inference_stats":{"success":{"count":5,"ns":5000},"queue":{"count":5,"ns":100}}},
    {"name":"m","version":"2","inference_count":2,"execution_count":2,
     "inference_stats":{"success":{"count":2,"ns":1000},"queue":{"count":2,"ns":40}}}]})";
  const auto model = [](std::uint64_t inferences, std::uint64_t count, std::uint64_t ns, std::uint64_t queue_ns) {
    const auto duration = [](std::uint64_t c, std::uint64_t n) {
      std::string d;
      append_uint_field(d, 1, c);
      append_uint_field(d, 2, n);
      return d;
    };
    std::string durations;
    append_bytes_field(durations, 1, duration(count, ns));
    append_bytes_field(durations, 3, duration(count, queue_ns));
    std::string m;
    append_uint_field(m, 4, inferences);
    append_uint_field(m, 5, 2);
    append_bytes_field(m, 6, durations);
    return m;
  };
  std::string response;
  append_bytes_field(response, 1, model(10, 5, 5000, 100));
  append_bytes_field(response, 1, model(2, 2, 1000, 40));
  auto from_json = statistics_from_json(json);
  auto from_proto = statistics_from_proto(response);
  ASSERT_TRUE(from_json.ok() && from_proto.ok());
  EXPECT_EQ(*from_json, *from_proto);
  EXPECT_EQ(from_json->success, (StatisticDuration{7, 6000}));
  EXPECT_DOUBLE_EQ(from_json->mean_batch(), 3);
}

TEST(ServerStatistics, AReloadStartsTheDifferenceAgain) {
  ServerStatistics before, after;
  before.inferences = 100;
  after.inferences = 30;
  EXPECT_EQ(after.minus(before).inferences, 30u);
  before.inferences = 10;
  EXPECT_EQ(after.minus(before).inferences, 20u);
}

}  // namespace
}  // namespace argosy::load
