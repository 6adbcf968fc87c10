#include <cstring>
#include <random>

#include "assemble/device_executor.h"
#include "check.h"
#include "device/pinned_bytes_pool.h"

namespace argosy::gpu {
namespace {

using device::Memory;
using device::MemoryKind;
using tensor::DType;

// Answers X = A: moved by the kernel into reserved memory, or copied into its own.
class EchoModel final : public backend::DeviceModel {
 public:
  EchoModel(std::shared_ptr<device::Pool> own, std::uint64_t seed) : own_(std::move(own)), random_(seed) {}

  Status enqueue(device::Stream& stream, backend::Batch& batch, backend::OutputMemory& memory) override {
    const auto& a = batch.inputs[0];
    const std::size_t bytes = a.data.size();
    batch.outputs = {{"X", DType::uint8, a.shape, {}}};
    if (random_() % 2 == 0) {
      auto places = memory.reserve({&bytes, 1});
      if (!places.ok()) return places.status();
      batch.outputs[0].data = {nullptr, places->front(), bytes, own_->device()->place()};
      const device::Piece piece{places->front(), a.data.data(), bytes};
      return stream.move({&piece, 1});
    }
    auto lease = own_->take_for(stream, bytes);
    if (!lease.ok()) return lease.status();
    std::byte* const to = lease->data();
    batch.outputs[0].data = (*std::move(lease)).share(bytes);
    return stream.copy(to, a.data.data(), bytes, device::Direction::on_device);
  }

 private:
  std::shared_ptr<device::Pool> own_;
  std::mt19937_64 random_;
};

model::SpecPtr echo_spec() {
  auto spec = std::make_shared<model::ModelSpec>();
  spec->name = "echo";
  spec->max_batch_rows = 64;
  spec->inputs = {{.name = "A", .dtype = DType::uint8, .dims = {-1}}};
  spec->outputs = {{.name = "X", .dtype = DType::uint8, .dims = {-1}}};
  return spec;
}

// Law: every request is answered once, in order, with its own rows, whole.
void no_row_is_lost_mixed_or_torn(Check& check) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    std::mt19937_64 random(seed);
    const auto pinned = device::Pool::make(check.device(), MemoryKind::pinned, {256u << 20, true});
    const auto memory = device::Pool::make(check.device(), MemoryKind::device, {256u << 20, true});
    auto pipeline = assemble::DevicePipeline::make({check.device(), pinned, memory},
                                                   {.direct_bytes = 1 + random() % (128u << 10), .ordering = {}});
    if (!check.expect(pipeline.status(), "pipeline")) return;
    EchoModel model(memory, seed);
    assemble::ShapeRules shapes;
    if (random() % 2 == 0) shapes.allowed_rows = {1, 2, 4, 8, 16, 32, 64};
    assemble::DeviceExecutor executor(echo_spec(), **pipeline, model, {.depth = 1 + random() % 3, .shapes = shapes});
    device::PinnedBytesPool receive(pinned, default_pool());

    std::vector<std::vector<std::byte>> sent;
    std::size_t answered = 0;
    const auto look = [&](const backend::Batch& batch) {
      for (const auto& answer : batch.answers) {
        const auto& expected = sent[answered++];
        if (!check.expect(answer.status, "seed " + std::to_string(seed))) continue;
        const auto& got = answer.outputs[0].data;
        check.expect(got.size() == expected.size() && std::memcmp(got.data(), expected.data(), got.size()) == 0,
                     "seed " + std::to_string(seed) + ", request " + std::to_string(answered - 1) + ": wrong bytes");
      }
    };
    for (int step = 0; step < 40; ++step) {
      backend::Batch batch;
      const std::size_t width = 1 + random() % (random() % 3 == 0 ? 600000 : 3000);
      for (std::uint64_t count = 1 + random() % 8; count-- > 0;) {
        const auto rows = static_cast<std::uint32_t>(1 + random() % 3);
        std::vector<std::byte> bytes(rows * width);
        for (auto& byte : bytes) byte = static_cast<std::byte>(random());
        Buffer buffer = random() % 2 == 0 ? receive.allocate(bytes.size()) : default_pool().allocate(bytes.size());
        std::memcpy(buffer.data(), bytes.data(), bytes.size());
        auto request = std::make_unique<infer::Request>();
        request->rows = rows;
        request->inputs = {{"A",
                            DType::uint8,
                            {rows, static_cast<std::int64_t>(width)},
                            Memory(std::move(buffer).freeze(bytes.size()))}};
        batch.requests.push_back(std::move(request));
        sent.push_back(std::move(bytes));
      }
      for (const auto& done : executor.submit(std::move(batch))) look(done);
    }
    while (const auto done = executor.finish_oldest()) look(*done);
    check.expect(answered == sent.size(), "answers are missing");
  }
}

void a_batch_given_up_leaves_nothing_behind(Check& check) {
  const auto pinned = device::Pool::make(check.device(), MemoryKind::pinned, {64u << 20, true});
  const auto memory = device::Pool::make(check.device(), MemoryKind::device, {64u << 20, true});
  auto pipeline = assemble::DevicePipeline::make({check.device(), pinned, memory});
  if (!check.expect(pipeline.status(), "pipeline")) return;
  for (int i = 0; i < 20; ++i) {
    const std::vector<assemble::InputParts> inputs = {{.parts = {Bytes::copy_of(std::string(1u << 20, 'x'))}}};
    auto flight = (*pipeline)->load(inputs);
    if (!check.expect(flight.status(), "load")) return;
    if (i % 2 == 0) check.expect((*pipeline)->unload(**flight, {(*flight)->inputs()[0]}), "unload");
  }
  check.expect(pinned->statistics().used_bytes == 0 && memory->statistics().used_bytes == 0, "memory is still held");
}

}  // namespace

std::vector<Named> assembler_checks() {
  return {{"no row is lost, mixed or torn", no_row_is_lost_mixed_or_torn},
          {"a batch given up leaves nothing behind", a_batch_given_up_leaves_nothing_behind}};
}

}  // namespace argosy::gpu
