#include "worker/wire.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "base/bytes_pool.h"
#include "worker/sizes.h"

namespace argosy::worker {
namespace {

using tensor::DType;

struct Sent {
  int where = 0;
  std::uint64_t block = 0, offset = 0, size = 0;
};

// The tensors of a request without wanted outputs and parameters, as a worker reads them.
std::vector<Sent> sent_in(const Writer& message) {
  const auto bytes = message.bytes();
  Reader from({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  from.raw(46);
  const auto count = from.number<std::uint16_t>();
  from.raw(8);
  for (int i = 0; i < 3; ++i) from.text();
  std::vector<Sent> all;
  for (std::uint16_t i = 0; i < count; ++i) {
    const auto name = from.number<std::uint16_t>();
    from.number<std::uint8_t>();
    Sent one{.where = from.number<std::uint8_t>()};
    const auto rank = from.number<std::uint32_t>();
    one.block = from.number<std::uint64_t>();
    one.offset = from.number<std::uint64_t>();
    one.size = from.number<std::uint64_t>();
    from.raw(name);
    from.align(8);
    from.raw(8 * rank);
    all.push_back(one);
  }
  EXPECT_FALSE(from.failed());
  return all;
}

struct World {
  std::shared_ptr<Arena> arena;
  Loans loans{arena};
  Exchange exchange{&loans, nullptr, {}};
  std::vector<std::uint64_t> lent;

  explicit World(std::size_t capacity = 16 * kMega) : arena(*Arena::create("wire test", capacity, kMega)) {}

  std::vector<Sent> send(std::vector<tensor::Tensor> inputs) {
    infer::Request request;
    request.inputs = std::move(inputs);
    Writer message;
    const Status status = write_request(request, 1, TimePoint{}, exchange, message, lent);
    EXPECT_TRUE(status.ok()) << status.message();
    return status.ok() ? sent_in(message) : std::vector<Sent>{};
  }
};

tensor::Tensor floats(std::string name, Bytes data) {
  return {std::move(name), DType::fp32, {static_cast<std::int64_t>(data.size() / 4)}, std::move(data)};
}

TEST(WirePlaces, ATensorReceivedIntoTheArenaIsPassedWhereItLies) {
  World world;
  const Bytes message = world.arena->allocate(kMega + 200).freeze(kMega + 200);
  const std::size_t used = world.arena->used();
  const auto sent = world.send({floats("x", message.slice(128, kMega))});
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(world.arena->at(sent[0].block), message.data());
  EXPECT_EQ(world.arena->at(sent[0].offset), message.data() + 128);
  EXPECT_EQ(sent[0].size, kMega);
  EXPECT_EQ(world.arena->used(), used);  // nothing was copied
  EXPECT_EQ(world.lent, std::vector<std::uint64_t>{sent[0].block});
}

TEST(WirePlaces, TensorsOfOneMessageShareItsBlock) {
  World world;
  Bytes message = world.arena->allocate(3 * kMega).freeze(3 * kMega);
  const auto sent = world.send({floats("y", message.slice(kMega + 64, kMega)), floats("x", message.slice(64, kMega))});
  ASSERT_EQ(sent.size(), 2u);
  EXPECT_EQ(sent[0].block, sent[1].block);
  EXPECT_EQ(sent[0].offset - sent[1].offset, kMega);
  message = {};
  EXPECT_TRUE(world.loans.returned(sent[0].block));
  EXPECT_GT(world.arena->used(), 0u);
  EXPECT_TRUE(world.loans.returned(sent[1].block));
  EXPECT_EQ(world.arena->used(), 0u);
}

TEST(WirePlaces, ATensorOfOtherMemoryIsCopied) {
  World world;
  Buffer buffer = default_pool().allocate(kMega);
  std::memset(buffer.data(), 3, kMega);
  const auto sent = world.send({floats("x", std::move(buffer).freeze(kMega))});
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].block, sent[0].offset);
  EXPECT_EQ(world.arena->at(sent[0].offset)[kMega - 1], std::byte{3});
}

TEST(WirePlaces, ATensorThatIsNotAlignedForItsTypeIsCopied) {
  World world;
  const Bytes message = world.arena->allocate(2 * kMega).freeze(2 * kMega);
  const auto sent = world.send({floats("x", message.slice(66, kMega))});
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_NE(world.arena->at(sent[0].block), message.data());
  // Bytes are aligned wherever they are.
  const auto bytes = world.send({{"x", DType::uint8, {kMega}, message.slice(67, kMega)}});
  ASSERT_EQ(bytes.size(), 1u);
  EXPECT_EQ(world.arena->at(bytes[0].offset), message.data() + 67);
}

TEST(WirePlaces, ARequestThatComesAgainIsACopyOfWhatTheWorkerMayHoldStill) {
  World world;
  const Bytes message = world.arena->allocate(kMega).freeze(kMega);
  const auto first = world.send({floats("x", message)});
  const auto again = world.send({floats("x", message)});
  ASSERT_EQ(first.size(), 1u);
  ASSERT_EQ(again.size(), 1u);
  EXPECT_NE(first[0].block, again[0].block);
}

TEST(WirePlaces, AFullArenaIsSaidAndTakesNothing) {
  World world(2 * kMega);
  Bytes message = world.arena->allocate(kMega).freeze(kMega);
  infer::Request request;
  request.inputs = {floats("x", message), floats("y", Bytes::copy_of(std::string(2 * kMega, 'y')))};
  Writer to;
  const Status status = write_request(request, 1, TimePoint{}, world.exchange, to, world.lent);
  EXPECT_EQ(status.code(), StatusCode::resource_exhausted);
  EXPECT_EQ(status.message(),
            "tensor 'y' of 2097152 bytes does not fit in the model's shared memory of 2097152 bytes, of which 1048576 "
            "are in use");
  ASSERT_EQ(world.lent.size(), 1u);
  EXPECT_TRUE(world.loans.returned(world.lent[0]));
  request.inputs.clear();
  message = {};
  EXPECT_EQ(world.arena->used(), 0u);
}

}  // namespace
}  // namespace argosy::worker
