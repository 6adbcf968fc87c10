#pragma once

// A simulated device with pools, and a model on it whose answer depends on every byte
// of its row: X is input A, changed byte by byte; Y sums up each row of all inputs.
//
// Thread: the test's own.

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "assemble/device_executor.h"
#include "device/simulated/simulated_device.h"

namespace argosy::assemble {

inline constexpr std::size_t kPage = 4096;

inline std::byte changed(std::byte value) { return value ^ std::byte{0x5A}; }

struct Rig {
  Rig(device::SimulatedOptions options, std::size_t pinned_bytes, std::size_t memory_bytes,
      PipelineOptions pipeline_options = {})
      : device(device::SimulatedDevice::make(options)),
        pinned(device::Pool::make(device, device::MemoryKind::pinned, {pinned_bytes, true})),
        memory(device::Pool::make(device, device::MemoryKind::device, {memory_bytes, true})) {
    auto made = DevicePipeline::make({device, pinned, memory}, pipeline_options);
    EXPECT_TRUE(made.ok()) << made.status().message();
    pipeline = *std::move(made);
  }

  // Received bytes; pinned ones out of the pool.
  device::Memory received(std::span<const std::byte> bytes, bool in_pinned) {
    if (!in_pinned) return Bytes::copy_of(bytes);
    auto lease = pinned->take_at_once(bytes.size());
    if (!lease.ok()) return Bytes::copy_of(bytes);
    if (!bytes.empty()) std::memcpy(lease->data(), bytes.data(), bytes.size());
    return (*std::move(lease)).share(bytes.size());
  }

  std::shared_ptr<device::SimulatedDevice> device;
  std::shared_ptr<device::Pool> pinned;
  std::shared_ptr<device::Pool> memory;
  std::unique_ptr<DevicePipeline> pipeline;
};

inline model::SpecPtr two_inputs(std::uint32_t max_rows) {
  auto spec = std::make_shared<model::ModelSpec>();
  spec->name = "m";
  spec->max_batch_rows = max_rows;
  spec->inputs = {{.name = "A", .dtype = tensor::DType::uint8, .dims = {-1}},
                  {.name = "B", .dtype = tensor::DType::int32, .dims = {3}}};
  spec->outputs = {{.name = "X", .dtype = tensor::DType::uint8, .dims = {-1}},
                   {.name = "Y", .dtype = tensor::DType::uint64, .dims = {1}}};
  return spec;
}

class SummingModel final : public backend::DeviceModel {
 public:
  // `own`: where it allocates what it does not reserve, in the order of its stream, as
  // frameworks do.
  SummingModel(std::shared_ptr<device::Pool> own, std::uint64_t seed) : own_(std::move(own)), random_(seed) {}

  Status enqueue(device::Stream& stream, backend::Batch& batch, backend::OutputMemory& memory) override {
    if (fail_one_in > 0 && random_() % fail_one_in == 0) return internal_error("model 'm': told to fail");
    const auto& a = batch.inputs[0];
    const auto& b = batch.inputs[1];
    const auto rows = static_cast<std::size_t>(a.shape[0]);
    const std::size_t sizes[2] = {a.data.size(), rows * sizeof(std::uint64_t)};
    batch.outputs = {{"X", tensor::DType::uint8, a.shape, {}}, {"Y", tensor::DType::uint64, {a.shape[0], 1}, {}}};
    const bool reserves = random_() % 2 == 0;
    std::vector<std::byte*> to;
    if (reserves) {
      auto places = memory.reserve(sizes);
      if (!places.ok()) return places.status();
      to = *std::move(places);
    }
    for (std::size_t i = 0; i < 2; ++i) {
      if (!reserves) {
        auto lease = own_->take_for(stream, sizes[i]);
        if (!lease.ok()) return lease.status();
        to.push_back(lease->data());
        batch.outputs[i].data = (*std::move(lease)).share(sizes[i]);
      } else {
        batch.outputs[i].data = {nullptr, to[i], sizes[i], own_->device()->place()};
      }
    }
    const std::byte* const from_a = a.data.data();
    const std::byte* const from_b = b.data.data();
    const std::size_t row_a = a.data.size() / rows;
    const std::size_t row_b = b.data.size() / rows;
    if (auto status = compute(stream,
                              [=] {
                                for (std::size_t i = 0; i < rows * row_a; ++i) to[0][i] = changed(from_a[i]);
                              });
        !status.ok()) {
      return status;
    }
    return compute(stream, [=] {
      for (std::size_t row = 0; row < rows; ++row) {
        const std::uint64_t sum =
            checksum({from_a + row * row_a, row_a}) * 31 + checksum({from_b + row * row_b, row_b});
        std::memcpy(to[1] + row * sizeof sum, &sum, sizeof sum);
      }
    });
  }

  static std::uint64_t checksum(std::span<const std::byte> bytes) {
    std::uint64_t sum = 1469598103934665603u;
    for (const std::byte byte : bytes) sum = (sum ^ std::to_integer<std::uint64_t>(byte)) * 1099511628211u;
    return sum;
  }

  std::uint32_t fail_one_in = 0;

 private:
  static Status compute(device::Stream& stream, std::function<void()> work) {
    return device::SimulatedDevice::launch(stream, std::move(work));
  }
  std::shared_ptr<device::Pool> own_;
  std::mt19937_64 random_;
};

}  // namespace argosy::assemble
