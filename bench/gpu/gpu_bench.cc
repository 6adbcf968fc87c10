// argosy_gpu_bench [--quick]: what the way to and from a GPU costs, as JSON lines.
//
//   h2d         pinned host-to-device bandwidth of one large copy: what can be had
//   assembler   64 requests of 600 KB from receive buffers to the device batch
//   way         the same for other sizes, staged and straight: where direct_bytes belongs
//   kernel      many small pieces on the device, by the kernel and by one copy each
//   overlap     copies and compute alone and pipelined
//
// Each number is the median of several runs, with the spread (max - min) / median.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>

#include "assemble/device_executor.h"
#include "busy.h"

namespace {

using namespace argosy;
using assemble::DevicePipeline;
using assemble::InputParts;
using device::Direction;
using device::MemoryKind;

struct Measured {
  double seconds = 0;
  double spread = 0;
};

class Bench {
 public:
  Bench(device::DevicePtr device, int runs) : device_(std::move(device)), runs_(runs) {
    pinned_ = device::Pool::make(device_, MemoryKind::pinned, {2u << 30, false});
    memory_ = device::Pool::make(device_, MemoryKind::device, {4ull << 30, false});
  }

  int run() {
    std::printf("{\"bench\":\"device\",\"name\":\"%s\",\"compute\":\"%d.%d\",\"memory_bytes\":%zu,\"runs\":%d}\n",
                device_->properties().name.c_str(), device_->properties().compute_major,
                device_->properties().compute_minor, device_->properties().memory_bytes, runs_);
    const double bandwidth = h2d();
    assembler(bandwidth);
    for (const std::size_t bytes : {4u << 10, 16u << 10, 64u << 10, 150u << 10, 256u << 10, 1u << 20}) way(bytes);
    kernel();
    overlap();
    return failed_ ? 1 : 0;
  }

 private:
  bool ok(const Status& status) {
    if (!status.ok() && !failed_) std::fprintf(stderr, "argosy_gpu_bench: %s\n", status.message().c_str());
    failed_ = failed_ || !status.ok();
    return status.ok();
  }

  // Twice unmeasured: pools fill and clocks rise.
  Measured measure(const std::function<void()>& work) {
    std::vector<double> seconds;
    for (int i = -2; i < runs_ && !failed_; ++i) {
      const auto from = std::chrono::steady_clock::now();
      work();
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - from;
      if (i >= 0) seconds.push_back(took.count());
    }
    if (seconds.empty()) return {};
    std::sort(seconds.begin(), seconds.end());
    const double median = seconds[seconds.size() / 2];
    return {median, (seconds.back() - seconds.front()) / median};
  }

  void flush(device::Stream& stream) {
    auto event = device_->make_event();
    if (ok(event.status()) && ok(stream.record(**event))) ok((*event)->wait());
  }

  std::unique_ptr<DevicePipeline> pipeline(std::size_t direct_bytes) {
    auto made = DevicePipeline::make({device_, pinned_, memory_}, {.direct_bytes = direct_bytes, .ordering = {}});
    return ok(made.status()) ? *std::move(made) : nullptr;
  }

  std::vector<InputParts> requests(std::size_t count, std::size_t bytes) {
    std::vector<InputParts> inputs(1);
    for (std::size_t i = 0; i < count; ++i) {
      auto lease = pinned_->take(bytes);
      if (!ok(lease.status())) return {};
      std::memset(lease->data(), static_cast<int>(i), bytes);
      inputs[0].parts.push_back((*std::move(lease)).share(bytes));
    }
    return inputs;
  }

  // Batches of these requests, `repeat` of them with two under way, until all have arrived.
  void send(DevicePipeline& pipeline, const std::vector<InputParts>& inputs, int repeat) {
    std::unique_ptr<assemble::Flight> before;
    for (int i = 0; i < repeat; ++i) {
      auto flight = pipeline.load(inputs);
      if (!ok(flight.status()) || !ok(pipeline.unload(**flight, {}))) return;
      if (before != nullptr && !ok(pipeline.collect(*before).status())) return;
      before = *std::move(flight);
    }
    ok(pipeline.collect(*before).status());
  }

  double h2d() {
    constexpr std::size_t kBytes = 64 * 600'000;
    constexpr int kRepeat = 20;
    auto stream = device_->make_stream();
    auto host = pinned_->take(kBytes);
    if (!ok(stream.status()) || !ok(host.status())) return 0;
    auto there = memory_->take_for(**stream, kBytes);
    if (!ok(there.status())) return 0;
    std::memset(host->data(), 1, kBytes);
    const auto took = measure([&] {
      for (int i = 0; i < kRepeat; ++i) {
        ok((*stream)->copy(there->data(), host->data(), kBytes, Direction::to_device));
      }
      flush(**stream);
    });
    const double bandwidth = kBytes * kRepeat / took.seconds / 1e9;
    std::printf("{\"bench\":\"h2d\",\"bytes\":%zu,\"gb_per_s\":%.2f,\"spread\":%.3f}\n", kBytes, bandwidth,
                took.spread);
    return bandwidth;
  }

  void assembler(double bandwidth) {
    constexpr std::size_t kRequests = 64;
    constexpr std::size_t kBytes = 600'000;
    constexpr int kRepeat = 20;
    const auto line = pipeline(64u << 10);
    const auto inputs = requests(kRequests, kBytes);
    if (line == nullptr || inputs.empty()) return;
    const auto took = measure([&] { send(*line, inputs, kRepeat); });
    const double rate = kRequests * kBytes * kRepeat / took.seconds / 1e9;
    std::printf(
        "{\"bench\":\"assembler\",\"requests\":%zu,\"bytes\":%zu,\"gb_per_s\":%.2f,\"spread\":%.3f,"
        "\"of_h2d\":%.3f,\"wanted\":0.85,\"met\":%s}\n",
        kRequests, kBytes, rate, took.spread, rate / bandwidth, rate >= 0.85 * bandwidth ? "true" : "false");
  }

  void way(std::size_t bytes) {
    constexpr int kRepeat = 20;
    const auto staged = pipeline(std::size_t{1} << 40);
    const auto straight = pipeline(1);
    const auto inputs = requests(64, bytes);
    if (staged == nullptr || straight == nullptr || inputs.empty()) return;
    const auto one = measure([&] { send(*staged, inputs, kRepeat); });
    const auto other = measure([&] { send(*straight, inputs, kRepeat); });
    std::printf(
        "{\"bench\":\"way\",\"requests\":64,\"bytes\":%zu,\"staged_us\":%.1f,\"staged_spread\":%.3f,"
        "\"straight_us\":%.1f,\"straight_spread\":%.3f}\n",
        bytes, one.seconds / kRepeat * 1e6, one.spread, other.seconds / kRepeat * 1e6, other.spread);
  }

  void kernel() {
    constexpr std::size_t kPieces = 1024;
    constexpr std::size_t kBytes = 4096;
    auto stream = device_->make_stream();
    if (!ok(stream.status())) return;
    auto from = memory_->take_for(**stream, 2 * kPieces * kBytes);
    auto to = memory_->take_for(**stream, kPieces * kBytes);
    if (!ok(from.status()) || !ok(to.status())) return;
    std::vector<device::Piece> pieces;
    for (std::size_t i = 0; i < kPieces; ++i) {
      pieces.push_back({to->data() + i * kBytes, from->data() + 2 * i * kBytes, kBytes});
    }
    const auto moved = measure([&] {
      ok((*stream)->move(pieces));
      flush(**stream);
    });
    const auto copied = measure([&] {
      for (const auto& piece : pieces) ok((*stream)->copy(piece.to, piece.from, piece.bytes, Direction::on_device));
      flush(**stream);
    });
    std::printf(
        "{\"bench\":\"kernel\",\"pieces\":%zu,\"bytes\":%zu,\"kernel_us\":%.1f,\"kernel_spread\":%.3f,"
        "\"copies_us\":%.1f,\"copies_spread\":%.3f}\n",
        kPieces, kBytes, moved.seconds * 1e6, moved.spread, copied.seconds * 1e6, copied.spread);
  }

  // One batch at a time is what a server without a pipeline does.
  void overlap() {
    constexpr int kBatches = 40;
    const auto line = pipeline(64u << 10);
    const auto inputs = requests(64, 600'000);
    if (line == nullptr || inputs.empty()) return;
    const auto copies = measure([&] { send(*line, inputs, kBatches); });
    auto scratch = memory_->take(4096);
    if (!ok(scratch.status())) return;
    const auto compute = [&](unsigned rounds) {
      if (!gpu::enqueue_busy(line->compute().native(), scratch->data(), 4096, rounds)) {
        ok(internal_error("the busy kernel was not launched"));
      }
    };
    // As much compute as there is copying: the case where a pipeline can win most.
    unsigned rounds = 1000;
    Measured alone;
    for (int attempt = 0; attempt < 8 && !failed_; ++attempt) {
      alone = measure([&] {
        for (int i = 0; i < kBatches; ++i) compute(rounds);
        flush(line->compute());
      });
      const double ratio = copies.seconds / alone.seconds;
      if (ratio > 0.95 && ratio < 1.05) break;
      rounds = static_cast<unsigned>(std::clamp(rounds * ratio, 1.0, 4e8));
    }
    const auto pipelined = measure([&] {
      std::vector<std::unique_ptr<assemble::Flight>> under_way;
      for (int i = 0; i < kBatches; ++i) {
        auto flight = line->load(inputs);
        if (!ok(flight.status())) return;
        compute(rounds);
        if (!ok(line->unload(**flight, {}))) return;
        under_way.push_back(*std::move(flight));
        if (under_way.size() < 3) continue;
        if (!ok(line->collect(*under_way.front()).status())) return;
        under_way.erase(under_way.begin());
      }
      for (auto& flight : under_way) ok(line->collect(*flight).status());
    });
    const double larger = std::max(copies.seconds, alone.seconds);
    std::printf(
        "{\"bench\":\"overlap\",\"batches\":%d,\"copy_ms\":%.2f,\"compute_ms\":%.2f,\"pipelined_ms\":%.2f,"
        "\"spread\":%.3f,\"of_larger\":%.3f,\"wanted\":1.1,\"met\":%s}\n",
        kBatches, copies.seconds * 1e3, alone.seconds * 1e3, pipelined.seconds * 1e3, pipelined.spread,
        pipelined.seconds / larger, pipelined.seconds <= 1.1 * larger ? "true" : "false");
  }

  device::DevicePtr device_;
  const int runs_;
  std::shared_ptr<device::Pool> pinned_;
  std::shared_ptr<device::Pool> memory_;
  bool failed_ = false;
};

}  // namespace

int main(int argc, char** argv) {
  const bool quick = argc > 1 && std::strcmp(argv[1], "--quick") == 0;
  const auto devices = device::cuda_devices();
  if (!devices.ok()) {
    std::fprintf(stderr, "argosy_gpu_bench: %s\n", devices.status().message().c_str());
    return 1;
  }
  if (devices->empty()) {
    std::printf("{\"bench\":\"device\",\"name\":null,\"note\":\"no device\"}\n");
    return 0;
  }
  return Bench(devices->front(), quick ? 3 : 15).run();
}
