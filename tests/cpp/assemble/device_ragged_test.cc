#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include "device_rig.h"

namespace argosy::assemble {
namespace {

using tensor::DType;
using tensor::Shape;

// A: ragged bytes. X: A changed, shaped like A; S: each request's sum. The ends of the parts come as a batch input.
model::SpecPtr segments() {
  auto spec = std::make_shared<model::ModelSpec>();
  spec->name = "m";
  spec->max_batch_rows = 16;
  spec->inputs = {{.name = "A", .dtype = DType::uint8, .dims = {-1}, .ragged = true}};
  spec->outputs = {{.name = "X", .dtype = DType::uint8, .dims = {-1}, .shaped_like = 0},
                   {.name = "S", .dtype = DType::int32, .dims = {1}}};
  spec->batch_inputs = {
      {"ends", DType::int32, model::BatchInput::Kind::accumulated_element_count_with_zero, 0},
      {"widest", DType::fp32, model::BatchInput::Kind::max_element_count_as_shape, 0},
  };
  return spec;
}

infer::RequestPtr one_row(Rig& rig, const std::vector<std::byte>& bytes, bool in_pinned) {
  auto made = std::make_unique<infer::Request>();
  made->rows = 1;
  made->inputs = {{"A", DType::uint8, {1, static_cast<std::int64_t>(bytes.size())}, rig.received(bytes, in_pinned)}};
  return made;
}

std::int32_t sum_of(const std::byte* begin, const std::byte* end) {
  return std::accumulate(begin, end, 0,
                         [](std::int32_t all, std::byte one) { return all + std::to_integer<int>(one); });
}

// Knows the requests by the batch input alone, which it reads where and when the device does.
struct SegmentModel final : backend::DeviceModel {
  explicit SegmentModel(std::shared_ptr<device::SimulatedDevice> device) : device_(std::move(device)) {}

  Status enqueue(device::Stream& stream, backend::Batch& batch, backend::OutputMemory& memory) override {
    EXPECT_EQ(batch.inputs.size(), 3u);
    EXPECT_EQ(batch.run_rows, batch.rows) << "nothing is padded";
    const auto parts = static_cast<std::size_t>(batch.inputs[1].shape[0] - 1);
    EXPECT_EQ(parts, batch.requests.size());
    widest = batch.inputs[2].shape[0];
    EXPECT_EQ(batch.inputs[2].data.size(), static_cast<std::size_t>(widest) * 4);
    const std::size_t sizes[2] = {batch.inputs[0].data.size(), parts * 4};
    const auto places = memory.reserve(sizes);
    if (!places.ok()) return places.status();
    batch.outputs = {
        {"X", DType::uint8, batch.inputs[0].shape, {nullptr, (*places)[0], sizes[0], device_->place()}},
        {"S", DType::int32, {batch.inputs[1].shape[0] - 1, 1}, {nullptr, (*places)[1], sizes[1], device_->place()}}};
    const std::byte *from = batch.inputs[0].data.data(), *ends = batch.inputs[1].data.data();
    std::byte *x = (*places)[0], *s = (*places)[1];
    return device::SimulatedDevice::launch(stream, [=] {
      for (std::size_t i = 0; i < sizes[0]; ++i) x[i] = changed(from[i]);
      for (std::size_t part = 0; part < parts; ++part) {
        std::int32_t bounds[2];
        std::memcpy(bounds, ends + part * 4, sizeof bounds);
        const std::int32_t all = sum_of(from + bounds[0], from + bounds[1]);
        std::memcpy(s + part * 4, &all, sizeof all);
      }
    });
  }

  std::int64_t widest = 0;

 private:
  const std::shared_ptr<device::SimulatedDevice> device_;
};

// Law: whatever lengths run together, and whatever row counts the device would like, each
// request gets its own part and the sum of its own bytes.
TEST(DeviceRagged, EachRequestGetsItsPartOnADeviceOfAnyPace) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    Rig rig({.pace = device::Pace::late, .seed = seed}, 64 * kPage, 64 * kPage,
            {.direct_bytes = 1 + random() % 3000, .ordering = {}});
    SegmentModel model(rig.device);
    DeviceExecutor executor(segments(), *rig.pipeline, model, {.depth = 1 + random() % 3, .shapes = {{4, 8, 16}}});
    std::vector<std::vector<std::byte>> sent;
    std::size_t answered = 0;
    const auto check = [&](const backend::Batch& batch) {
      ASSERT_EQ(batch.answers.size(), batch.requests.size());
      for (const auto& answer : batch.answers) {
        const auto& bytes = sent[answered++];
        ASSERT_TRUE(answer.status.ok()) << answer.status.message();
        ASSERT_EQ(answer.outputs[0].shape, (Shape{1, static_cast<std::int64_t>(bytes.size())}));
        for (std::size_t i = 0; i < bytes.size(); ++i) {
          ASSERT_EQ(answer.outputs[0].data.data()[i], changed(bytes[i])) << "byte " << i;
        }
        std::int32_t got = -1;
        ASSERT_EQ(answer.outputs[1].shape, (Shape{1, 1}));
        std::memcpy(&got, answer.outputs[1].data.data(), sizeof got);
        ASSERT_EQ(got, sum_of(bytes.data(), bytes.data() + bytes.size()));
      }
    };
    for (int step = 0; step < 12; ++step) {
      backend::Batch batch;
      std::size_t widest = 0;
      for (std::size_t count = 1 + random() % 5; count-- > 0;) {
        std::vector<std::byte> bytes(random() % (random() % 4 == 0 ? 3000 : 9));
        for (auto& byte : bytes) byte = static_cast<std::byte>(random());
        widest = std::max(widest, bytes.size());
        batch.requests.push_back(one_row(rig, bytes, random() % 2 == 0 && !bytes.empty()));
        sent.push_back(std::move(bytes));
      }
      const auto finished = executor.submit(std::move(batch));
      EXPECT_EQ(model.widest, static_cast<std::int64_t>(widest));
      for (const auto& one : finished) check(one);
    }
    while (const auto one = executor.finish_oldest()) check(*one);
    EXPECT_EQ(answered, sent.size());
  }
}

TEST(DeviceParts, OfABatchWithBatchInputsAreNotPadded) {
  Rig rig({}, 8 * kPage, 8 * kPage);
  auto spec = *two_inputs(8);
  spec.batch_inputs = {{"counts", DType::int32, model::BatchInput::Kind::element_count, 0}};
  backend::Batch batch;
  const std::vector<std::byte> a(6), b(24);
  auto made = std::make_unique<infer::Request>();
  made->rows = 2;
  made->inputs = {{"A", DType::uint8, {2, 3}, rig.received(a, false)},
                  {"B", DType::int32, {2, 3}, rig.received(b, false)}};
  batch.requests.push_back(std::move(made));
  const auto parts = device_parts(spec, batch, {{4}});
  ASSERT_TRUE(parts.ok());
  EXPECT_EQ(batch.run_rows, 2u);
  ASSERT_EQ(parts->size(), 3u);
  ASSERT_EQ((*parts)[2].parts.size(), 1u);
  std::int32_t count = 0;
  ASSERT_EQ((*parts)[2].parts[0].size(), sizeof count);
  std::memcpy(&count, (*parts)[2].parts[0].data(), sizeof count);
  EXPECT_EQ(count, 6);
}

}  // namespace
}  // namespace argosy::assemble
