#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "load/answer_check.h"
#include "load/arrivals.h"
#include "load/elements.h"
#include "load/exchange.h"
#include "load/json.h"
#include "load/measurement.h"
#include "load/options.h"
#include "load/process_usage.h"
#include "load/proto_wire.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

namespace argosy::load {
namespace {

using namespace std::chrono_literals;

ModelCard card(std::vector<std::int64_t> shape, std::int64_t max_batch, const char* datatype = "FP32") {
  return {"m", {{"X", datatype, shape}}, {{"Y", datatype, shape}}, max_batch};
}

TEST(Samples, TheBatchDimensionIsTheBatchSize) {
  SampleRules rules;
  rules.batch = 4;
  auto sample = generate_sample(card({-1, 16}, 8), rules);
  ASSERT_TRUE(sample.ok());
  EXPECT_EQ(sample->inputs[0].shape, (std::vector<std::int64_t>{4, 16}));
  EXPECT_EQ(sample->inputs[0].bytes.size(), 4u * 16 * 4);
}

TEST(Samples, ADynamicDimensionWithoutASizeIsRefusedByName) {
  auto sample = generate_sample(card({-1, -1}, 8), {});
  ASSERT_FALSE(sample.ok());
  EXPECT_NE(sample.status().message().find("'X'"), std::string::npos);
  SampleRules rules;
  rules.shapes["X"] = {3};
  EXPECT_EQ(generate_sample(card({-1, -1}, 8), rules)->inputs[0].shape, (std::vector<std::int64_t>{1, 3}));
  rules.shapes["X"] = {1, 3};
  EXPECT_FALSE(generate_sample(card({-1, -1}, 8), rules).ok());
}

TEST(Samples, AHugeShapeIsRefusedInsteadOfOverflowing) {
  SampleRules rules;
  rules.shapes["X"] = {2147483647, 2147483647, 4};
  EXPECT_FALSE(generate_sample(card({-1, -1, -1}, 0), rules).ok());
}

TEST(Samples, StringsAreLengthPrefixedAndTheSeedDecidesThem) {
  SampleRules rules;
  rules.string_length = 3;
  auto first = generate_sample(card({2}, 0, "BYTES"), rules);
  EXPECT_EQ(first->inputs[0].bytes.size(), 2u * (4 + 3));
  EXPECT_EQ(first->inputs[0].bytes, generate_sample(card({2}, 0, "BYTES"), rules)->inputs[0].bytes);
  rules.seed = 2;
  EXPECT_NE(first->inputs[0].bytes, generate_sample(card({2}, 0, "BYTES"), rules)->inputs[0].bytes);
}

TEST(Samples, AFileGivesOneSampleForEachEntryWithItsExpectation) {
  auto samples = samples_from_file(
      card({-1, 2}, 8), {}, R"({"data":[{"X":[1,2]},[{"X":{"content":[3,4],"shape":[2]}}],{"X":{"b64":"AACAPwAAAEA="}}],
     "validation_data":[{"Y":[1,2]},{},{"Y":[1,2]}]})");
  ASSERT_TRUE(samples.ok()) << samples.status().message();
  ASSERT_EQ(samples->size(), 3u);
  EXPECT_EQ((*samples)[0].inputs[0].bytes, (*samples)[2].inputs[0].bytes);
  EXPECT_EQ(*(*samples)[0].expected, (*samples)[0].inputs[0].bytes);
  EXPECT_FALSE((*samples)[1].expected);
}

TEST(Samples, AFileWithTooFewElementsIsRefused) {
  EXPECT_FALSE(samples_from_file(card({-1, 2}, 8), {}, R"({"data":[{"X":[1]}]})").ok());
  EXPECT_FALSE(samples_from_file(card({-1, 2}, 8), {}, R"({"data":[{"Z":[1,2]}]})").ok());
}

const Target kTarget{"127.0.0.1:8000", "m", ""};

Sample two_floats() {
  SampleRules rules;
  rules.shapes["X"] = {2};
  return *generate_sample(card({-1}, 0), rules);
}

TEST(Exchange, ABinaryRequestSaysTheSizesOfItsParts) {
  const Sample sample = two_floats();
  const Exchange exchange = infer_exchange(Format::http_binary, kTarget, sample);
  const auto json_size = exchange.body.size() - sample.inputs[0].bytes.size();
  EXPECT_NE(exchange.head.find("Inference-Header-Content-Length: " + std::to_string(json_size) + "\r\n"),
            std::string::npos);
  EXPECT_NE(exchange.head.find("Content-Length: " + std::to_string(exchange.body.size()) + "\r\n"), std::string::npos);
  EXPECT_TRUE(parse_json(std::string_view(exchange.body).substr(0, json_size)).ok());
  EXPECT_TRUE(exchange.body.ends_with(sample.inputs[0].bytes));
}

TEST(Exchange, AGrpcRequestIsPrefixedAndCarriesTheRawTensor) {
  const Sample sample = two_floats();
  const Exchange exchange = infer_exchange(Format::grpc, kTarget, sample);
  EXPECT_EQ(exchange.head, "/inference.GRPCInferenceService/ModelInfer");
  EXPECT_EQ(static_cast<std::size_t>(exchange.body[4]), exchange.body.size() - 5);
  ProtoReader reader(std::string_view(exchange.body).substr(5));
  std::string raw;
  while (reader.next()) {
    if (reader.field() == 7) raw = reader.bytes();
  }
  EXPECT_TRUE(reader.ok());
  EXPECT_EQ(raw, sample.inputs[0].bytes);
}

TEST(Answers, TheFirstOutputIsFoundInEveryFormat) {
  const std::string two = *elements_from_json("FP32", *parse_json("[1,2.5]"));
  EXPECT_EQ(
      *first_output(Format::http_json, R"({"outputs":[{"name":"Y","datatype":"FP32","shape":[2],"data":[1,2.5]}]})",
                    kNoHeaderLength),
      two);
  const std::string head =
      R"({"outputs":[{"name":"Y","datatype":"FP32","shape":[2],"parameters":{"binary_data_size":8}}]})";
  EXPECT_EQ(*first_output(Format::http_binary, head + two, head.size()), two);
  std::string message;
  append_bytes_field(message, 5, "");
  append_bytes_field(message, 6, two);
  EXPECT_EQ(*first_output(Format::grpc, message, kNoHeaderLength), two);
}

TEST(Answers, AnAnswerWithoutWhatItPromisesIsAnError) {
  EXPECT_FALSE(first_output(Format::http_json, "{}", kNoHeaderLength).ok());
  EXPECT_FALSE(first_output(Format::http_json, R"({"outputs":[]})", kNoHeaderLength).ok());
  const std::string head = R"({"outputs":[{"name":"Y","parameters":{"binary_data_size":9}}]})";
  EXPECT_FALSE(first_output(Format::http_binary, head + "12345678", head.size()).ok());
  EXPECT_FALSE(first_output(Format::http_binary, head, head.size() + 1).ok());
  EXPECT_FALSE(first_output(Format::grpc, "\x0a\xff", kNoHeaderLength).ok());
  EXPECT_FALSE(first_output(Format::grpc, "", kNoHeaderLength).ok());
}

TEST(AnswerCheck, AWrongAnswerIsFoundAlsoAfterRightOnes) {
  AnswerCheck check(Format::http_json, {*elements_from_json("INT32", *parse_json("[1,2]"))});
  const std::string right = R"({"outputs":[{"datatype":"INT32","data":[1,2]}]})";
  EXPECT_TRUE(check.check(0, right, kNoHeaderLength).ok());
  EXPECT_TRUE(check.check(0, right, kNoHeaderLength).ok());
  EXPECT_FALSE(check.check(0, R"({"outputs":[{"datatype":"INT32","data":[1,3]}]})", kNoHeaderLength).ok());
  EXPECT_TRUE(check.check(0, R"({"id":"7","outputs":[{"datatype":"INT32","data":[1,2]}]})", kNoHeaderLength).ok());
}

// The body of an answer that comes in pieces, and whether any of it was kept.
std::string_view append_in_pieces(Answer& answer, std::string_view body, std::size_t piece) {
  for (std::size_t at = 0; at < body.size(); at += piece) answer.append(body.substr(at, piece));
  return answer.body();
}

TEST(Answer, ALikelyBodyIsComparedAndNotKept) {
  const auto likely = std::make_shared<const std::string>(std::string(100'000, 'a') + std::string(100'000, 'b'));
  Answer answer;
  for (const std::size_t piece : {1u, 7'777u, 200'000u}) {
    answer.begin(likely);
    EXPECT_EQ(append_in_pieces(answer, *likely, piece).data(), likely->data());
    EXPECT_EQ(answer.body().size(), likely->size());
  }
}

TEST(Answer, AnyOtherBodyIsKeptAsItCame) {
  const auto likely = std::make_shared<const std::string>(50'000, 'a');
  std::vector<std::string> others{"", "a", std::string(49'999, 'a'), *likely + "a", *likely + std::string(60'000, 'c')};
  for (const std::size_t wrong : {0u, 1u, 25'000u, 49'999u}) {
    others.push_back(*likely);
    others.back()[wrong] = 'x';
  }
  Answer answer;
  for (const std::string& other : others) {
    for (const std::size_t piece : {3u, 4096u, 100'000u}) {
      answer.begin(likely);
      EXPECT_TRUE(append_in_pieces(answer, other, piece) == other) << other.size() << " in " << piece;
      answer.begin(nullptr);
      EXPECT_TRUE(append_in_pieces(answer, other, piece) == other);
    }
  }
}

TEST(AnswerCheck, AWrongByteOfALargeAnswerIsFound) {
  const std::string tensor(100'000, 't');
  std::string right;
  append_bytes_field(right, 5, "");
  append_bytes_field(right, 6, tensor);
  AnswerCheck check(Format::grpc, {tensor});
  EXPECT_EQ(check.likely(0), nullptr);
  EXPECT_TRUE(check.check(0, right, kNoHeaderLength).ok());
  Answer answer;
  answer.begin(check.likely(0));
  ASSERT_TRUE(check.check(0, append_in_pieces(answer, right, 10'000), kNoHeaderLength).ok());
  EXPECT_EQ(answer.body().data(), check.likely(0)->data());
  for (const std::size_t at : {right.size() - 1, right.size() - tensor.size(), right.size() / 2}) {
    std::string wrong = right;
    wrong[at] = 'x';
    answer.begin(check.likely(0));
    EXPECT_FALSE(check.check(0, append_in_pieces(answer, wrong, 10'000), kNoHeaderLength).ok()) << at;
  }
  answer.begin(check.likely(0));
  EXPECT_FALSE(check.check(0, append_in_pieces(answer, right.substr(0, 50'000), 10'000), kNoHeaderLength).ok());
}

TEST(Arrivals, PoissonGapsHaveTheirMeanAndTheirSpread) {
  Arrivals arrivals(1000, true, 3, TimePoint{});
  TimePoint last{};
  double sum = 0, squares = 0;
  constexpr int kCount = 100'000;
  for (int i = 0; i < kCount; ++i) {
    const double gap = static_cast<double>((arrivals.next() - last).count());
    last = arrivals.next();
    sum += gap;
    squares += gap * gap;
    arrivals.advance();
  }
  const double mean = sum / kCount;
  EXPECT_NEAR(mean, 1e6, 1e4);
  EXPECT_NEAR(std::sqrt(squares / kCount - mean * mean), 1e6, 2e4);
}

TEST(Arrivals, ConstantGapsAreConstant) {
  Arrivals arrivals(1000, false, 1, TimePoint{});
  EXPECT_EQ(arrivals.next(), TimePoint(1ms));
  arrivals.advance();
  EXPECT_EQ(arrivals.next(), TimePoint(2ms));
}

TEST(Stability, ThreeWindowsMustAgreeInThroughputAndInLatency) {
  MeasureRules rules;
  rules.stability = 0.1;
  EXPECT_FALSE(is_stable({{100, 10}, {100, 10}}, rules));
  EXPECT_TRUE(is_stable({{100, 10}, {105, 10}, {96, 10.5}}, rules));
  EXPECT_FALSE(is_stable({{100, 10}, {150, 10}, {96, 10}}, rules));
  EXPECT_FALSE(is_stable({{100, 10}, {100, 15}, {100, 10}}, rules));
  EXPECT_FALSE(is_stable({{0, 0}, {0, 0}, {0, 0}}, rules));
}

Result<Options> parse(std::vector<const char*> flags) { return parse_options(flags); }

TEST(Options, LevelsAreListsOrRanges) {
  EXPECT_EQ(*parse_levels("1,2,4"), (std::vector<double>{1, 2, 4}));
  EXPECT_EQ(*parse_levels("1:9:4"), (std::vector<double>{1, 5, 9}));
  EXPECT_EQ(*parse_levels("2:4"), (std::vector<double>{2, 3, 4}));
  for (const char* text : {"", "0", "-1", "1:2:3:4", "5:1", "x", "1,", "1:1000000:1", "nan"})
    EXPECT_FALSE(parse_levels(text).ok()) << text;
}

TEST(Options, ConnectionsAndStreamsAloneSayTheConcurrency) {
  auto options = parse({"-m", "m", "--connections", "4", "--streams=8"});
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->loads[0].concurrency, 32u);
}

TEST(Options, WhatCannotBeMeantIsRefusedByName) {
  const std::vector<std::vector<const char*>> wrong = {
      {},
      {"-m"},
      {"-m", "m", "--nope", "1"},
      {"-m", "m", "-u", "host"},
      {"-m", "m", "-u", "https://h:1"},
      {"-m", "m", "-i", "ftp"},
      {"-m", "m", "--concurrency", "1.5"},
      {"-m", "m", "--concurrency", "1", "--request-rate", "5"},
      {"-m", "m", "-i", "http", "--streams", "2"},
      {"-m", "m", "--connections", "3", "--concurrency", "10"},
      {"-m", "m", "--shape", "X"},
      {"-m", "m", "--server-pid", "me"},
      {"-m", "m", "--shape", "X:1,a"},
  };
  for (const auto& flags : wrong) EXPECT_FALSE(parse(flags).ok()) << (flags.empty() ? "" : flags.back());
}

TEST(ProcessUsage, FindsOurselvesByAPortWeListenOn) {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(fd, 1), 0);
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  EXPECT_EQ(listener_of_port(ntohs(address.sin_port)), ::getpid());
  ::close(fd);
  const auto usage = usage_of_tree(::getpid());
  ASSERT_TRUE(usage);
  EXPECT_GE(usage->processes, 1);
  EXPECT_GT(usage->rss_bytes, 100'000u);
  EXPECT_FALSE(usage_of_tree(0x7ffffff0));
}

}  // namespace
}  // namespace argosy::load
