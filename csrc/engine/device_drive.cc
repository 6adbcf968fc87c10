#include "engine/device_drive.h"

#include <algorithm>
#include <thread>

#include "assemble/scatter.h"
#include "backend/device_model.h"
#include "engine/contained.h"
#include "engine/thread_name.h"

namespace argosy::engine {

DeviceDrive::DeviceDrive(Lane& lane, std::size_t instance, assemble::DevicePipeline& pipeline,
                         backend::DeviceModel& model, Running& running)
    : lane_(lane),
      instance_(instance),
      settings_(model.settings()),
      full_(lane.spec().batching ? lane.spec().max_batch_rows : 1),
      running_(running),
      model_(model, lane.clock()),
      executor_(lane.shared_spec(), pipeline, model_,
                {.depth = settings_.depth, .shapes = {.allowed_rows = settings_.allowed_rows}, .make_room = [this] {
                   return make_room();
                 }}) {}

void DeviceDrive::run_alone(backend::Batch& batch) {
  assemble::DeviceExecutor::UnderWay work{std::move(batch), nullptr, {}};
  Status status = start(work);
  if (status.ok()) status = finish(work);
  work.flight.reset();
  if (!status.ok()) assemble::fail_batch(work.batch, status);
  batch = std::move(work.batch);
}

void DeviceDrive::run() {
  std::jthread answering([this] {
    name_this_thread("answer-" + lane_.spec().name);
    answer_in_turn();
  });
  for (;;) {
    wait_for_place();
    auto taken = lane_.take(instance_);
    if (!taken) break;
    take_up(*std::move(taken));
  }
  state_.lock()->over = true;
  changed_.notify_all();
  answering.join();
  drop_given_up();
}

// Before the queue is asked: what waits there can still be joined, cancelled and expire.
void DeviceDrive::wait_for_place() {
  auto state = state_.lock();
  while (!has_place(*state)) state.wait(changed_);
}

bool DeviceDrive::has_place(const State& state) {
  if (state.under_way >= std::max(1u, settings_.depth)) return false;
  return state.under_way < 2 || full_ <= 1 || lane_.waiting().requests >= full_;
}

bool DeviceDrive::make_room() {
  auto state = state_.lock();
  if (state->under_way == 0) return false;
  const std::uint64_t before = state->left;
  while (state->left == before) state.wait(changed_);
  return true;
}

void DeviceDrive::drop_given_up() {
  std::vector<std::unique_ptr<assemble::Flight>> given_up;
  state_.lock()->given_up.swap(given_up);
}

Status DeviceDrive::start(assemble::DeviceExecutor::UnderWay& work) {
  const Status status = contained(lane_.spec(), [&] { return executor_.start(work); });
  if (work.batch.input_ready == TimePoint{}) work.batch.input_ready = lane_.clock().now();
  return status;
}

Status DeviceDrive::finish(assemble::DeviceExecutor::UnderWay& work) {
  const Status status = contained(lane_.spec(), [&] { return executor_.await(work); });
  work.batch.output_ready = lane_.clock().now();
  if (!status.ok()) return status;
  work.flight.reset();
  return contained(lane_.spec(), [&] { return assemble::scatter(lane_.spec(), work.batch); });
}

void DeviceDrive::take_up(ModelQueue::Taken taken) {
  auto run = std::make_unique<Run>();
  run->free_since = taken.free_since;
  auto& requests = run->work.batch.requests;
  requests.reserve(taken.items.size());
  run->orders.reserve(taken.items.size());
  {
    auto running = running_.lock();
    for (auto& item : taken.items) {
      if (item.request->cancellation) {
        running->push_back(item.request->cancellation);
        ++run->cancellable;
      }
      run->orders.push_back(item.order);
      requests.push_back(std::move(item.request));
    }
  }
  drop_given_up();
  run->started = start(run->work);
  if (!run->started.ok()) run->work.flight.reset();
  {
    auto state = state_.lock();
    state->started.push_back(std::move(run));
    ++state->under_way;
  }
  changed_.notify_all();
}

void DeviceDrive::answer_in_turn() {
  for (;;) {
    std::unique_ptr<Run> run;
    {
      auto state = state_.lock();
      while (state->started.empty() && !state->over) state.wait(changed_);
      if (state->started.empty()) return;
      run = std::move(state->started.front());
      state->started.pop_front();
    }
    answer(*run);
  }
}

void DeviceDrive::answer(Run& run) {
  backend::Batch& batch = run.work.batch;
  const Status status = run.started.ok() ? finish(run.work) : run.started;
  if (!status.ok()) assemble::fail_batch(batch, status);
  if (batch.output_ready == TimePoint{}) batch.output_ready = batch.input_ready;
  {
    auto state = state_.lock();
    if (run.work.flight) state->given_up.push_back(std::move(run.work.flight));
    --state->under_way;
    ++state->left;
  }
  changed_.notify_all();
  {
    auto running = running_.lock();
    running->erase(running->begin(), running->begin() + static_cast<std::ptrdiff_t>(run.cancellable));
  }
  for (auto& request : batch.requests) {
    request->timings.input_ready = batch.input_ready;
    request->timings.output_ready = batch.output_ready;
  }
  lane_.answer(instance_, batch.requests, batch.answers, run.orders, batch.rows, run.free_since);
}

}  // namespace argosy::engine
