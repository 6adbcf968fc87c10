#include "assemble/device_executor.h"

#include <gtest/gtest.h>

#include <set>
#include <stdexcept>

#include "device_rig.h"

namespace argosy::assemble {
namespace {

using device::Pace;
using tensor::DType;
using tensor::Tensor;

struct Sent {
  std::vector<std::byte> a;
  std::vector<std::byte> b;
  std::uint32_t rows = 0;
};

infer::RequestPtr request(Rig& rig, const Sent& sent, bool in_pinned, std::uint64_t number) {
  auto made = std::make_unique<infer::Request>();
  made->rows = sent.rows;
  made->id = std::to_string(number);
  const auto width = static_cast<std::int64_t>(sent.a.size() / sent.rows);
  made->inputs = {{"A", DType::uint8, {sent.rows, width}, rig.received(sent.a, in_pinned)},
                  {"B", DType::int32, {sent.rows, 3}, rig.received(sent.b, in_pinned)}};
  return made;
}

Sent random_rows(std::mt19937_64& random, std::uint32_t rows, std::size_t width) {
  Sent sent{std::vector<std::byte>(rows * width), std::vector<std::byte>(rows * 12u), rows};
  for (auto* bytes : {&sent.a, &sent.b}) {
    for (auto& byte : *bytes) byte = static_cast<std::byte>(random());
  }
  return sent;
}

void expect_whole(const Sent& sent, const infer::Response& answer) {
  ASSERT_EQ(answer.outputs.size(), 2u);
  const Tensor& x = answer.outputs[0];
  ASSERT_EQ(x.data.size(), sent.a.size());
  for (std::size_t i = 0; i < sent.a.size(); ++i) ASSERT_EQ(x.data.data()[i], changed(sent.a[i])) << "byte " << i;
  const Tensor& y = answer.outputs[1];
  ASSERT_EQ(y.shape, (tensor::Shape{sent.rows, 1}));
  const std::size_t width = sent.a.size() / sent.rows;
  for (std::uint32_t row = 0; row < sent.rows; ++row) {
    const std::uint64_t expected = SummingModel::checksum({sent.a.data() + row * width, width}) * 31 +
                                   SummingModel::checksum({sent.b.data() + row * 12, 12});
    std::uint64_t got = 0;
    std::memcpy(&got, y.data.data() + row * sizeof got, sizeof got);
    ASSERT_EQ(got, expected) << "row " << row;
  }
}

TEST(DeviceExecutor, KeepsAsManyBatchesUnderWayAsItIsDeep) {
  Rig rig({}, 64 * kPage, 64 * kPage);
  SummingModel model(rig.memory, 1);
  DeviceExecutor executor(two_inputs(8), *rig.pipeline, model, {.depth = 3, .shapes = {}});
  std::mt19937_64 random(1);
  for (std::uint64_t i = 0; i < 4; ++i) {
    backend::Batch one;
    one.requests.push_back(request(rig, random_rows(random, 1, 10), false, i));
    const auto finished = executor.submit(std::move(one));
    EXPECT_EQ(finished.size(), i < 2 ? 0u : 1u);
    for (const auto& batch : finished) EXPECT_EQ(batch.requests[0]->id, std::to_string(i - 2));
  }
  EXPECT_EQ(executor.under_way(), 2u);
  EXPECT_EQ(executor.finish_oldest()->requests[0]->id, "2");
  EXPECT_EQ(executor.finish_oldest()->requests[0]->id, "3");
  EXPECT_FALSE(executor.finish_oldest().has_value());
}

TEST(DeviceExecutor, RunsPaddedRowsOfZerosThatNobodyGets) {
  Rig rig({}, 64 * kPage, 64 * kPage);
  struct Watching final : backend::DeviceModel {
    explicit Watching(SummingModel& model) : model_(model) {}
    Status enqueue(device::Stream& stream, backend::Batch& batch, backend::OutputMemory& memory) override {
      shape = batch.inputs[0].shape;
      const std::byte* const from = batch.inputs[0].data.data();
      auto status = device::SimulatedDevice::launch(stream, [this, from] { padding.assign(from + 6, from + 16); });
      return status.ok() ? model_.enqueue(stream, batch, memory) : status;
    }
    tensor::Shape shape;
    std::vector<std::byte> padding;
    SummingModel& model_;
  };
  SummingModel summing(rig.memory, 1);
  Watching model(summing);
  DeviceExecutor executor(two_inputs(8), *rig.pipeline, model, {.depth = 2, .shapes = {{4, 8}}});
  std::mt19937_64 random(1);
  const std::vector<Sent> sent = {random_rows(random, 1, 2), random_rows(random, 2, 2)};
  backend::Batch batch;
  for (std::uint64_t i = 0; i < 2; ++i) batch.requests.push_back(request(rig, sent[i], false, i));
  {
    const auto wide = random_rows(random, 2, 2);
    batch.requests.push_back(request(rig, wide, false, 2));
  }
  EXPECT_TRUE(executor.submit(std::move(batch)).empty());
  const auto done = executor.finish_oldest();
  EXPECT_EQ(model.shape, (tensor::Shape{8, 2}));
  EXPECT_EQ(std::vector<std::byte>(model.padding.begin() + 4, model.padding.end()), std::vector<std::byte>(6));
  for (std::size_t i = 0; i < 2; ++i) expect_whole(sent[i], done->answers[i]);
}

TEST(DeviceExecutor, AnswersAreSlicesOfTheOnePinnedBlockThatCameBack) {
  Rig rig({}, 64 * kPage, 64 * kPage);
  struct Reserving final : backend::DeviceModel {
    Status enqueue(device::Stream&, backend::Batch& batch, backend::OutputMemory& memory) override {
      const std::size_t rows = batch.run_rows;
      const std::size_t sizes[2] = {rows * 2, rows * 8};
      const auto places = memory.reserve(sizes);
      if (!places.ok()) return places.status();
      batch.outputs = {
          {"X", DType::uint8, {batch.rows, 2}, {nullptr, (*places)[0], sizes[0], {device::MemoryKind::device, 0}}},
          {"Y", DType::uint64, {batch.rows, 1}, {nullptr, (*places)[1], sizes[1], {device::MemoryKind::device, 0}}}};
      return {};
    }
  } model;
  DeviceExecutor executor(two_inputs(8), *rig.pipeline, model, {});
  std::mt19937_64 random(1);
  backend::Batch batch;
  for (std::uint64_t i = 0; i < 2; ++i) batch.requests.push_back(request(rig, random_rows(random, 2, 2), false, i));
  EXPECT_TRUE(executor.submit(std::move(batch)).empty());
  const auto done = executor.finish_oldest();
  const auto& first = done->answers[0].outputs;
  const auto& second = done->answers[1].outputs;
  EXPECT_TRUE(device::is_pinned(first[0].data));
  for (const auto* output : {&first[1], &second[0], &second[1]}) EXPECT_EQ(output->data.owner(), first[0].data.owner());
  EXPECT_EQ(second[0].data.data(), first[0].data.data() + 4) << "the rows of both stand as they came back";
  EXPECT_EQ(second[1].data.data(), first[1].data.data() + 16);
}

TEST(DeviceExecutor, RefusesStringsByName) {
  Rig rig({}, 64 * kPage, 64 * kPage);
  SummingModel model(rig.memory, 1);
  auto spec = std::make_shared<model::ModelSpec>(*two_inputs(8));
  spec->inputs = {{.name = "S", .dtype = DType::bytes, .dims = {1}}};
  DeviceExecutor executor(spec, *rig.pipeline, model, {});
  backend::Batch batch;
  batch.requests.push_back(std::make_unique<infer::Request>());
  batch.requests[0]->inputs = {{"S", DType::bytes, {1, 1}, {}}};
  const auto finished = executor.submit(std::move(batch));
  ASSERT_EQ(finished.size(), 1u);
  EXPECT_EQ(finished[0].answers[0].status,
            unsupported("model 'm', input 'S': BYTES tensors cannot be copied to a device"));
}

// Half of the pool is held by an answer that nobody reads; what remains is too small.
TEST(DeviceExecutor, DoesWithOrdinaryMemoryWhereThePinnedPoolHasNoRoom) {
  for (const Pace pace : {Pace::late, Pace::seeded, Pace::free}) {
    Rig rig({.pace = pace}, 2 * kPage, 64 * kPage);
    const auto held = rig.pinned->take_at_once(2 * kPage);
    ASSERT_TRUE(held.ok());
    SummingModel model(rig.memory, 1);
    DeviceExecutor executor(two_inputs(8), *rig.pipeline, model, {.depth = 3, .shapes = {{1, 2, 4, 8}}});
    std::mt19937_64 random(7);
    std::vector<Sent> sent;
    std::size_t answered = 0;
    const auto check = [&](const backend::Batch& batch) {
      for (const auto& answer : batch.answers) {
        ASSERT_TRUE(answer.status.ok()) << answer.status.message();
        expect_whole(sent[answered++], answer);
        EXPECT_FALSE(device::is_pinned(answer.outputs[0].data));
      }
    };
    for (std::uint64_t i = 0; i < 20; ++i) {
      backend::Batch one;
      sent.push_back(random_rows(random, 1 + i % 3, 1 + random() % 9000));
      one.requests.push_back(request(rig, sent.back(), false, i));
      for (const auto& done : executor.submit(std::move(one))) check(done);
    }
    while (const auto done = executor.finish_oldest()) check(*done);
    EXPECT_EQ(answered, 20u);
    EXPECT_EQ(rig.pinned->done_without(), 40u) << "each batch on its way in and out";
    EXPECT_EQ(rig.device->violations(), std::vector<std::string>{});
  }
}

TEST(DeviceExecutor, WaitsForBatchesUnderWayBeforeItDoesWithoutPinnedMemory) {
  Rig rig({}, 64 * kPage, 64 * kPage);
  SummingModel model(rig.memory, 1);
  std::size_t asked = 0;
  DeviceExecutor executor(two_inputs(8), *rig.pipeline, model, {.depth = 2, .shapes = {}, .make_room = [&] {
                                                                  return ++asked < 3 ? Room::made : Room::none;
                                                                }});
  const auto held = rig.pinned->take_at_once(64 * kPage);
  std::mt19937_64 random(1);
  backend::Batch batch;
  batch.requests.push_back(request(rig, random_rows(random, 1, 10), false, 0));
  EXPECT_TRUE(executor.submit(std::move(batch)).empty());
  EXPECT_EQ(asked, 4u) << "three times for the way in, then once for the way out";
  EXPECT_TRUE(executor.finish_oldest()->answers[0].status.ok());
}

TEST(DeviceExecutor, NamesThePoolThatHadNoRoom) {
  Rig rig({}, 64 * kPage, kPage);
  SummingModel model(rig.memory, 1);
  DeviceExecutor executor(two_inputs(8), *rig.pipeline, model, {});
  std::mt19937_64 random(1);
  backend::Batch batch;
  batch.requests.push_back(request(rig, random_rows(random, 1, 9000), false, 0));
  const auto finished = executor.submit(std::move(batch));
  ASSERT_EQ(finished.size(), 1u);
  EXPECT_EQ(finished[0].answers[0].status,
            resource_exhausted("model 'm': device memory pool of 'simulated': no room for 9228 bytes; 0 of its 4096 "
                               "bytes are in use"));
}

// Work that is enqueued by then writes into memory that only the failed batch still names.
TEST(DeviceExecutor, WhatAModelReturnedLivesUntilItsFailedBatchIsDropped) {
  enum class Fails { status, exception, device };
  for (const Fails fails : {Fails::status, Fails::exception, Fails::device}) {
    Rig rig({}, 64 * kPage, 64 * kPage);
    struct Failing final : backend::DeviceModel {
      Failing(Rig& rig, Fails fails) : rig_(rig), fails_(fails) {}
      Status enqueue(device::Stream& stream, backend::Batch& batch, backend::OutputMemory&) override {
        auto lease = *rig_.memory->take_for(stream, kPage);
        batch.outputs = {{"X", DType::uint8, {1, kPage}, std::move(lease).share(kPage)}};
        EXPECT_TRUE(device::SimulatedDevice::launch(stream, [this] {
                      used_when_it_ran = rig_.memory->statistics().used_bytes;
                    }).ok());
        if (fails_ == Fails::status) return internal_error("too late");
        if (fails_ == Fails::exception) throw std::runtime_error("too late");
        rig_.device->set_fail_one_in(1);
        return {};
      }
      Rig& rig_;
      const Fails fails_;
      std::size_t used_when_it_ran = 0;
    } model(rig, fails);
    DeviceExecutor executor(two_inputs(8), *rig.pipeline, model, {});
    std::mt19937_64 random(1);
    DeviceExecutor::UnderWay one;
    one.batch.requests.push_back(request(rig, random_rows(random, 1, 10), false, 0));
    try {
      EXPECT_FALSE(executor.start(one).ok());
    } catch (const std::runtime_error&) {
      EXPECT_EQ(fails, Fails::exception);
    }
    rig.device->set_fail_one_in(0);
    fail_batch(one.batch, internal_error("failed"));
    one.flight.reset();
    EXPECT_EQ(model.used_when_it_ran, 2 * kPage) << "the block of the inputs, and what the model returned";
    EXPECT_EQ(rig.memory->statistics().used_bytes, 0u);
  }
}

TEST(DeviceParts, JoinRaggedInputsFlatAndPadNothingThen) {
  Rig rig({}, 8 * kPage, 8 * kPage);
  auto spec = *two_inputs(8);
  backend::Batch batch;
  std::mt19937_64 random(1);
  batch.requests.push_back(request(rig, random_rows(random, 1, 5), false, 0));
  batch.requests.push_back(request(rig, random_rows(random, 2, 7), false, 1));
  ASSERT_TRUE(device_parts(spec, batch, {{4}}).ok());
  EXPECT_EQ(batch.run_rows, 4u);

  spec.inputs[0].ragged = true;
  const auto parts = device_parts(spec, batch, {{4}});
  ASSERT_TRUE(parts.ok());
  EXPECT_EQ(batch.inputs[0].shape, (tensor::Shape{19}));
  EXPECT_EQ((*parts)[0].padded_bytes, 0u);
  EXPECT_EQ(batch.run_rows, 3u) << "a flat input has no rows to tell zeros from";
  EXPECT_EQ(batch.inputs[1].shape, (tensor::Shape{3, 3}));
  EXPECT_EQ((*parts)[1].padded_bytes, 36u);
}

TEST(DeviceParts, LeaveAnInputOutThatNobodySent) {
  Rig rig({}, 8 * kPage, 8 * kPage);
  auto spec = *two_inputs(8);
  spec.inputs[1].optional = true;
  backend::Batch batch;
  std::mt19937_64 random(1);
  batch.requests.push_back(request(rig, random_rows(random, 1, 5), false, 0));
  batch.requests[0]->inputs[1] = {};
  const auto parts = device_parts(spec, batch, {});
  ASSERT_TRUE(parts.ok());
  EXPECT_TRUE(batch.inputs[1].name.empty());
  EXPECT_TRUE((*parts)[1].parts.empty());
}

struct World {
  std::uint64_t seed = 1;
  Pace pace = Pace::late;
  std::uint32_t device_fails = 0;
  std::uint32_t model_fails = 0;
};

// Law: every request is answered once, in order; an answer that is ok is its own rows
// and nobody else's, whole; nothing fails unless something was told to, or a pool was
// full; and afterwards no memory is held.
int run(const World& world) {
  std::mt19937_64 random(world.seed);
  Rig rig({.pace = world.pace, .seed = world.seed}, (8 + random() % 40) * kPage, (6 + random() % 40) * kPage,
          {.direct_bytes = 1 + random() % 3000, .ordering = {}});
  // The model's own memory: a pool for its stream alone, or the one that other streams use, too.
  const auto own =
      world.seed % 4 < 2 ? rig.memory : device::Pool::make(rig.device, device::MemoryKind::device, {32 * kPage, true});
  SummingModel model(own, world.seed);
  model.fail_one_in = world.model_fails;
  ShapeRules shapes;
  if (random() % 2 == 0) shapes.allowed_rows = {1, 2, 4, 8, 16};
  DeviceExecutor executor(two_inputs(16), *rig.pipeline, model, {.depth = 1 + random() % 3, .shapes = shapes});
  rig.device->set_fail_one_in(world.device_fails);

  std::vector<Sent> sent;
  std::uint64_t answered = 0;
  int good = 0;
  const auto check = [&](const backend::Batch& batch) {
    ASSERT_EQ(batch.answers.size(), batch.requests.size());
    for (std::size_t i = 0; i < batch.requests.size(); ++i) {
      ASSERT_EQ(batch.requests[i]->id, std::to_string(answered));
      const auto& status = batch.answers[i].status;
      if (status.ok()) {
        expect_whole(sent[answered], batch.answers[i]);
        ++good;
      } else if (world.device_fails == 0 && world.model_fails == 0) {
        ASSERT_EQ(status.code(), StatusCode::resource_exhausted) << status.message();
      }
      ++answered;
    }
  };
  for (int step = 0; step < 30 && !testing::Test::HasFatalFailure(); ++step) {
    if (random() % 6 == 0) {
      if (const auto done = executor.finish_oldest()) check(*done);
      continue;
    }
    backend::Batch batch;
    const std::size_t width = 1 + random() % (random() % 4 == 0 ? 3000 : 100);
    for (std::uint64_t count = 1 + random() % 5; count-- > 0;) {
      sent.push_back(random_rows(random, 1 + static_cast<std::uint32_t>(random() % 3), width));
      batch.requests.push_back(request(rig, sent.back(), random() % 2 == 0, sent.size() - 1));
    }
    for (const auto& done : executor.submit(std::move(batch))) check(done);
  }
  while (const auto done = executor.finish_oldest()) check(*done);
  EXPECT_EQ(answered, sent.size());
  EXPECT_EQ(rig.device->violations(), std::vector<std::string>{});
  for (const auto& pool : {rig.pinned, rig.memory, own}) EXPECT_EQ(pool->statistics().used_bytes, 0u);
  return good;
}

TEST(DeviceExecutorProperty, NoRowIsLostMixedOrTorn) {
  int good = 0;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    good += run({.seed = seed, .pace = seed % 3 == 0 ? Pace::late : Pace::seeded});
  }
  EXPECT_GT(good, 2000);
}

TEST(DeviceExecutorProperty, NoRowIsLostMixedOrTornInTrouble) {
  int good = 0;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    good += run({.seed = seed,
                 .pace = seed % 3 == 0 ? Pace::late : Pace::seeded,
                 .device_fails = static_cast<std::uint32_t>(seed % 2 == 0 ? 40 : 0),
                 .model_fails = 5});
  }
  EXPECT_GT(good, 500);
}

TEST(DeviceExecutorProperty, NoRowIsLostMixedOrTornWhenStreamsRunFreely) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    run({.seed = seed, .pace = Pace::free, .model_fails = static_cast<std::uint32_t>(seed % 2 == 0 ? 5 : 0)});
  }
}

}  // namespace
}  // namespace argosy::assemble
