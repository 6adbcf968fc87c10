#include "kserve/proto_peek.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "kserve/fields.h"
#include "kserve/proto_infer.h"
#include "kserve/wire.h"

namespace argosy::kserve {
namespace {

constexpr std::size_t kLarge = 1000;

std::string input(std::string_view name, std::size_t size) {
  std::string shape;
  WireWriter(shape).raw_varint(size);
  return field(5, field(1, name) + field(2, "UINT8") + field(3, shape));
}

TEST(ProtoPeek, TellsTheModelAndWhereItsTensorBeginsFromTheFirstBytes) {
  const std::string head = field(1, "resnet") + field(2, "3") + field(3, "id") + input("x", 5000);
  const std::string message = head + field(7, std::string(5000, 'x'));
  const auto peek = peek_model_infer(std::string_view(message).substr(0, head.size() + 3), message.size(), kLarge);
  ASSERT_TRUE(peek);
  EXPECT_EQ(peek->model_name, "resnet");
  EXPECT_EQ(peek->model_version, "3");
  EXPECT_EQ(peek->first_large, head.size() + 3);
}

TEST(ProtoPeek, PassesOverSmallTensors) {
  const std::string head = field(1, "m") + input("s", 4) + input("x", 5000) + field(7, "tiny");
  const std::string message = head + field(7, std::string(5000, 'x'));
  const auto peek = peek_model_infer(std::string_view(message).substr(0, 100), message.size(), kLarge);
  ASSERT_TRUE(peek);
  EXPECT_EQ(peek->first_large, head.size() + 3);
}

TEST(ProtoPeek, HasNothingToSayWithoutALargeRawTensor) {
  const auto peek = [](const std::string& message) {
    return peek_model_infer(std::string_view(message).substr(0, 500), message.size(), kLarge);
  };
  EXPECT_FALSE(peek(""));
  EXPECT_FALSE(peek(field(1, "m") + input("x", 4) + field(7, "tiny")));
  // Typed contents are converted, and so copied, in any case.
  EXPECT_FALSE(peek(field(1, "m") + field(5, field(1, "x") + field(5, field(1, std::string(5000, 'x'))))));
  // Nameless, or named too late.
  EXPECT_FALSE(peek(field(7, std::string(5000, 'x')) + field(1, "m")));
  // A tensor that is longer than its message.
  std::string lies = field(1, "m");
  WireWriter(lies).length(7, 5000);
  EXPECT_FALSE(peek(lies + std::string(100, 'x')));
}

TEST(ProtoPeek, NeedsTheTensorsLengthToHaveCome) {
  const std::string head = field(1, "m") + input("x", 5000);
  const std::string message = head + field(7, std::string(5000, 'x'));
  for (std::size_t have = 0; have < message.size(); ++have) {
    const auto peek = peek_model_infer(std::string_view(message).substr(0, have), message.size(), kLarge);
    EXPECT_EQ(peek.has_value(), have >= head.size() + 3) << have;
  }
}

// Law: what the peek says of a message is what decoding all of it says.
TEST(ProtoPeekProperty, AgreesWithTheDecoder) {
  constexpr std::uint32_t kSeed = 23;
  SCOPED_TRACE(kSeed);
  std::mt19937 random(kSeed);
  int found = 0;
  for (int round = 0; round < 500; ++round) {
    SCOPED_TRACE(round);
    std::string head = field(1, std::string(1 + random() % 40, 'm'));
    if (random() % 2 == 0) head += field(2, std::to_string(random() % 100));
    if (random() % 2 == 0) head += field(3, std::string(random() % 60, 'i'));
    for (unsigned i = random() % 3; i > 0; --i) {
      std::string value;
      WireWriter(value).varint(2, random());
      head += field(4, field(1, "p" + std::to_string(i)) + field(2, value));
    }
    std::string raw;
    const std::size_t inputs = 1 + random() % 4;
    std::optional<std::size_t> first;
    for (std::size_t i = 0; i < inputs; ++i) {
      const std::size_t size = random() % 4 == 0 ? kLarge + random() % 20'000 : random() % kLarge;
      head += input("x" + std::to_string(i), size);
      if (size >= kLarge && !first) first = i;
      raw += field(7, std::string(size, static_cast<char>('a' + i)));
    }
    if (random() % 2 == 0) head += field(6, field(1, "out"));
    const Bytes message = Bytes::copy_of(head + raw);
    const ModelInferCall call = decode_model_infer(message, default_pool());
    ASSERT_TRUE(call.status.ok()) << call.status.message();
    const auto peek = peek_model_infer(message.view().substr(0, 16'384), message.size(), kLarge);
    ASSERT_EQ(peek.has_value(), first.has_value());
    if (!peek) continue;
    ++found;
    EXPECT_EQ(peek->model_name, call.model_name);
    EXPECT_EQ(peek->model_version, call.model_version);
    EXPECT_EQ(message.data() + peek->first_large, call.request->inputs[*first].data.data());
  }
  EXPECT_GT(found, 100);
}

TEST(ProtoPeekProperty, AnyBytesAreRead) {
  constexpr std::uint32_t kSeed = 29;
  SCOPED_TRACE(kSeed);
  std::mt19937 random(kSeed);
  const std::string good = field(1, "model") + input("x", 5000) + field(7, std::string(5000, 'x'));
  for (int round = 0; round < 5000; ++round) {
    std::string text = good.substr(0, random() % 200);
    for (unsigned i = random() % 6; i > 0 && !text.empty(); --i)
      text[random() % text.size()] = static_cast<char>(random());
    const std::size_t length = random() % 2 == 0 ? good.size() : random() % 300;
    const auto peek = peek_model_infer(text, length, kLarge);
    if (!peek) continue;
    EXPECT_LE(peek->first_large, text.size());
    EXPECT_LE(peek->first_large + kLarge, length);
    EXPECT_GE(peek->model_name.data(), text.data());
    EXPECT_LE(peek->model_name.data() + peek->model_name.size(), text.data() + text.size());
  }
}

}  // namespace
}  // namespace argosy::kserve
