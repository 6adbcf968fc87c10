// bench_core: CPU time and allocations per call of the core's hot paths: a whole
// request through submit, queue, batch, identity and reply; the batcher alone; one
// metric. One JSON line each: the median of `n` runs, their spread and the 99th
// percentile (with few runs, the slowest).

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <latch>
#include <new>
#include <string>
#include <vector>

#include "backend/identity/identity.h"
#include "engine/engine.h"
#include "metrics/instruments.h"
#include "sched/make_policy.h"

static std::atomic<std::uint64_t> allocations{0};

// Not inlined: the compiler would see malloc and warn about each delete.
[[gnu::noinline]] void* operator new(std::size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace argosy {
namespace {

constexpr int kRuns = 11;

double cpu_ns() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto ns = [](const timeval& time) { return time.tv_sec * 1e9 + time.tv_usec * 1e3; };
  return ns(usage.ru_utime) + ns(usage.ru_stime);
}

double wall_ns() { return static_cast<double>(SteadyClock().now().time_since_epoch().count()); }

void report(const char* name, std::size_t batch, std::size_t calls, const std::function<void()>& prepare,
            const std::function<void()>& run) {
  std::vector<double> cpu, wall;
  std::uint64_t allocated = 0;
  for (int i = 0; i <= kRuns; ++i) {  // the first one warms up
    prepare();
    const std::uint64_t before = allocations.load();
    const double cpu_from = cpu_ns(), wall_from = wall_ns();
    run();
    if (i == 0) continue;
    wall.push_back((wall_ns() - wall_from) / static_cast<double>(calls));
    cpu.push_back((cpu_ns() - cpu_from) / static_cast<double>(calls));
    allocated += allocations.load() - before;
  }
  std::sort(cpu.begin(), cpu.end());
  std::sort(wall.begin(), wall.end());
  std::printf(
      "{\"bench\":\"%s\",\"build\":\"%s\",\"cores\":%ld,\"batch\":%zu,\"calls\":%zu,\"n\":%d,"
      "\"cpu_ns\":%.0f,\"cpu_spread_ns\":%.0f,\"cpu_p99_ns\":%.0f,\"wall_ns\":%.0f,\"allocations\":%.2f}\n",
      name, ARGOSY_BENCH_BUILD, sysconf(_SC_NPROCESSORS_ONLN), batch, calls, kRuns, cpu[kRuns / 2],
      cpu.back() - cpu.front(), cpu.back(), wall[kRuns / 2],
      static_cast<double>(allocated) / static_cast<double>(calls * kRuns));
  std::fflush(stdout);
}

model::ModelSpec identity_spec(std::uint32_t max_rows) {
  model::ModelSpec spec;
  spec.name = "identity";
  spec.backend = "identity";
  spec.max_batch_rows = max_rows;
  spec.inputs = {{"INPUT0", tensor::DType::fp32, {16}}};
  spec.outputs = {{"OUTPUT0", tensor::DType::fp32, {16}}};
  spec.batching.emplace();
  return spec;
}

class CountSink final : public infer::ReplySink {
 public:
  explicit CountSink(std::latch& left) : left_(left) {}
  void send(infer::Response response, bool) override {
    if (!response.status.ok()) std::abort();
    left_.count_down();
  }

 private:
  std::latch& left_;
};

infer::RequestPtr request(const Bytes& payload) {
  auto made = std::make_unique<infer::Request>();
  made->inputs.push_back({"INPUT0", tensor::DType::fp32, {1, 16}, device::Memory(payload)});
  made->bytes = payload.size();
  return made;
}

void whole_request(std::uint32_t max_rows) {
  constexpr std::size_t kCalls = 64 * 1024;
  SteadyClock clock;
  auto backends = std::make_shared<backend::Registry>();
  if (!backends->add("identity", backend::make_identity_backend()).ok()) std::abort();
  engine::Engine engine({}, backends, nullptr, clock);
  if (!engine.load("identity", {identity_spec(max_rows)}).ok()) std::abort();
  const Bytes payload = Bytes::copy_of(std::string(64, 'x'));
  std::vector<infer::RequestPtr> requests;
  std::unique_ptr<std::latch> left;
  const std::size_t wave = max_rows * 2;
  report(
      "submit_to_reply", max_rows, kCalls,
      [&] {
        left = std::make_unique<std::latch>(kCalls);
        for (std::size_t i = 0; i < kCalls; ++i) {
          requests.push_back(request(payload));
          requests.back()->reply.wrap([&](auto) { return std::make_unique<CountSink>(*left); });
        }
      },
      [&] {
        auto model = engine.find("identity");
        for (std::size_t i = 0; i < kCalls; ++i) {
          engine.submit(*model, std::move(requests[i]));
          // As a front end with so many clients: it goes on when answers made room.
          while (i % wave == wave - 1 && engine.in_flight() > wave) usleep(20);
        }
        left->wait();
        requests.clear();
      });
  const auto sums = (*engine.statistics("identity")).front();
  std::fprintf(stderr, "mean batch %.1f\n",
               static_cast<double>(sums.inferences) / static_cast<double>(sums.executions));
}

void batcher() {
  constexpr std::size_t kBatch = 32, kCalls = kBatch * 2048;
  auto policy = sched::make_policy(identity_spec(kBatch), 1);
  const Bytes payload = Bytes::copy_of(std::string(64, 'x'));
  std::vector<sched::Pending> items;
  const TimePoint now = SteadyClock().now();
  for (std::size_t i = 0; i < kBatch; ++i) items.push_back({.request = request(payload), .rows = 1, .arrived = now});
  report(
      "batcher_push_next", kBatch, kCalls, [] {},
      [&] {
        for (std::size_t turn = 0; turn < kCalls / kBatch; ++turn) {
          for (auto& item : items) {
            if (!policy->push(std::move(item), now).ok()) std::abort();
          }
          auto decision = policy->next(0, now);
          items = std::move(std::get<sched::RunBatch>(decision).items);
        }
      });
}

void instruments() {
  constexpr std::size_t kCalls = 1'000'000;
  metrics::Counter counter;
  metrics::Histogram histogram({10, 100, 1'000, 10'000, 100'000, 1'000'000, 10'000'000}, 1e-9);
  report(
      "counter_add", 1, kCalls, [] {},
      [&] {
        for (std::size_t i = 0; i < kCalls; ++i) counter.add();
      });
  report(
      "histogram_observe", 1, kCalls, [] {},
      [&] {
        for (std::size_t i = 0; i < kCalls; ++i) histogram.observe(i);
      });
}

}  // namespace
}  // namespace argosy

int main() {
  argosy::whole_request(8);
  argosy::whole_request(32);
  argosy::whole_request(128);
  argosy::batcher();
  argosy::instruments();
}
