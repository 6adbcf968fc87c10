#pragma once

// Short ways to write queued requests and read decisions in scheduler tests.

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "model/spec.h"
#include "sched/policy.h"

namespace argosy::sched {

using namespace std::chrono_literals;
using Ids = std::vector<std::string>;

inline TimePoint at(Micros t) { return TimePoint(t); }
inline TimePoint at(double us) {
  return TimePoint(std::chrono::duration_cast<Nanos>(std::chrono::duration<double, std::micro>(us)));
}

struct Asked {
  Micros arrived{0};
  std::uint32_t rows = 1;
  std::uint64_t priority = 0;
  TimePoint deadline = TimePoint::max();
  std::int64_t width = 4;  // of the open dimension of its only input
  bool with_optional = false;
};

inline Pending request(std::string id, Asked asked = {}) {
  auto made = std::make_unique<infer::Request>();
  made->id = std::move(id);
  made->rows = asked.rows;
  made->priority = asked.priority;
  made->deadline = asked.deadline;
  made->cancellation = std::make_shared<infer::Cancellation>();
  made->inputs.resize(2);
  made->inputs[0] = {"x", tensor::DType::fp32, {static_cast<std::int64_t>(asked.rows), asked.width}, {}};
  if (asked.with_optional) made->inputs[1] = {"y", tensor::DType::fp32, {static_cast<std::int64_t>(asked.rows), 1}, {}};
  return {std::move(made), asked.rows, at(asked.arrived)};
}

inline model::ModelSpec batching_model(std::uint32_t max_rows, model::Batching batching = {}) {
  model::ModelSpec spec;
  spec.name = "m";
  spec.max_batch_rows = max_rows;
  spec.inputs = {{.name = "x", .dims = {-1}}, {.name = "y", .dims = {1}, .optional = true}};
  spec.batching = std::move(batching);
  return spec;
}

inline Ids ids(const std::vector<Pending>& items) {
  Ids out;
  for (const Pending& item : items) out.push_back(item.request->id);
  return out;
}

// The ids of a batch; a decision that is none fails the test.
inline Ids ids(const Decision& decision) {
  const auto* batch = std::get_if<RunBatch>(&decision);
  if (batch == nullptr) {
    ADD_FAILURE() << "expected a batch, got decision " << decision.index();
    return {};
  }
  return ids(batch->items);
}

inline bool waits_for_work(const Decision& decision) { return std::holds_alternative<WaitForWork>(decision); }

}  // namespace argosy::sched
