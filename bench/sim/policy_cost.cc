// argosy-policy-cost: time and allocations a request spends in push() and next(), per
// batch size and queue depth. Requests are made before and freed after the clock runs.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <vector>

#include "sched/make_policy.h"

namespace {

std::size_t allocations = 0;

}  // namespace

void* operator new(std::size_t size) {
  ++allocations;
  if (void* block = std::malloc(size)) return block;
  throw std::bad_alloc();
}
void operator delete(void* block) noexcept { std::free(block); }
void operator delete(void* block, std::size_t) noexcept { std::free(block); }

namespace {

using namespace argosy;
using Steady = std::chrono::steady_clock;

struct Case {
  std::uint32_t rows;  // of a batch
  std::size_t depth;   // queued all the time
  bool deadlines, delay;
};

void measure(const Case& c) {
  constexpr std::size_t kRounds = 12;
  const std::size_t requests = std::max<std::size_t>(100'000 / c.rows, 1) * c.rows;
  std::vector<double> ns;
  std::size_t allocated = 0;
  model::ModelSpec spec;
  spec.max_batch_rows = c.rows;
  spec.inputs = {{.name = "x", .dims = {-1}}};
  spec.batching = model::Batching{.max_queue_delay = c.delay ? Micros(std::chrono::hours(1)) : Micros(0)};
  for (std::size_t round = 0; round < kRounds; ++round) {
    const auto policy = sched::make_policy(spec, 1);
    TimePoint now{};
    const auto make = [&] {
      auto request = std::make_unique<infer::Request>();
      request->inputs = {{"x", tensor::DType::fp32, {1, 16}, {}}};
      request->cancellation = std::make_shared<infer::Cancellation>();
      if (c.deadlines) request->deadline = now + std::chrono::seconds(10) + Micros(std::rand() % 1000);
      return sched::Pending{std::move(request), 1, now};
    };
    for (std::size_t i = 0; i < c.depth; ++i) {
      if (!policy->push(make(), now).ok()) std::abort();
    }
    std::vector<sched::Pending> waiting;
    std::vector<sched::Decision> out;
    waiting.reserve(requests);
    out.reserve(requests / c.rows + 1);
    for (std::size_t i = 0; i < requests; ++i) waiting.push_back(make());

    const std::size_t before = allocations;
    const auto start = Steady::now();
    for (std::size_t i = 0; i < requests; ++i) {
      now += Nanos(100);
      if (!policy->push(std::move(waiting[i]), now).ok()) std::abort();
      // With a delay every push asks, as a waiting instance does.
      if (c.delay || (i + 1) % c.rows == 0) {
        auto decision = policy->next(0, now);
        if (decision.index() == 0) out.push_back(std::move(decision));
      }
    }
    const std::chrono::duration<double, std::nano> spent = Steady::now() - start;
    allocated = allocations - before;
    ns.push_back(spent.count() / static_cast<double>(requests));
  }
  std::sort(ns.begin(), ns.end());
  std::printf(
      "{\"bench\": \"policy_cost\", \"batch_rows\": %u, \"depth\": %zu, \"deadlines\": %s, \"delay\": %s, "
      "\"rounds\": %zu, \"ns_per_request\": {\"median\": %.1f, \"min\": %.1f, \"max\": %.1f}, "
      "\"allocations_per_request\": %.3f}\n",
      c.rows, c.depth, c.deadlines ? "true" : "false", c.delay ? "true" : "false", ns.size(), ns[ns.size() / 2],
      ns.front(), ns.back(), static_cast<double>(allocated) / static_cast<double>(requests));
}

}  // namespace

int main() {
  for (const bool deadlines : {false, true}) {
    for (const bool delay : {false, true}) {
      for (const std::uint32_t rows : {1u, 32u, 256u}) {
        for (const std::size_t depth : {std::size_t{0}, std::size_t{100'000}}) measure({rows, depth, deadlines, delay});
      }
    }
  }
}
