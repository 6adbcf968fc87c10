#include "engine/device_drive.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "assemble/scatter.h"
#include "backend/device_model.h"
#include "engine/contained.h"
#include "engine/halving.h"
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
                 }}) {
  if (settings_.depth > 1) lane_.pipelines(instance_);
}

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
    drop_given_up();
    auto taken = lane_.take(instance_);
    if (!taken) break;
    if (!taken->items.empty()) take_up(*std::move(taken));
  }
  state_.lock()->over = true;
  changed_.notify_all();
  run_what_failed_until_all_is_answered();
  answering.join();
  drop_given_up();
}

// Before the queue is asked: what waits there can still be joined, cancelled and expire.
void DeviceDrive::wait_for_place() {
  for (;;) {
    {
      auto state = state_.lock();
      while (state->again == nullptr && !has_place(*state)) state.wait(changed_);
      if (state->again == nullptr) return;
    }
    run_again();
  }
}

bool DeviceDrive::has_place(const State& state) {
  if (state.under_way >= std::max(1u, settings_.depth)) return false;
  return state.under_way < 2 || full_ <= 1 || lane_.waiting().requests >= full_;
}

assemble::Room DeviceDrive::make_room() {
  if (drop_given_up()) return assemble::Room::made;
  if (in_parts_) return make_room_behind();
  auto state = state_.lock();
  if (state->under_way == 0) return assemble::Room::none;
  const std::uint64_t before = state->left;
  while (state->left == before && state->again == nullptr) state.wait(changed_);
  if (state->left != before) return assemble::Room::made;
  // The oldest leaves only after this thread has run it again, which it cannot do from
  // within the model.
  gave_way_ = true;
  return assemble::Room::later;
}

// While the oldest is run in parts, those behind it are not answered, but can be awaited.
assemble::Room DeviceDrive::make_room_behind() {
  Run* next = nullptr;
  {
    auto state = state_.lock();
    const auto found =
        std::ranges::find_if(state->started, [](const auto& run) { return run->work.flight != nullptr; });
    if (found == state->started.end()) return assemble::Room::none;
    next = found->get();
  }
  if (!next->over) next->status = finish(next->work);
  next->over = true;
  next->work.flight.reset();
  return assemble::Room::made;
}

// False: there was nothing.
bool DeviceDrive::drop_given_up() {
  std::vector<std::unique_ptr<assemble::Flight>> given_up;
  state_.lock()->given_up.swap(given_up);
  return !given_up.empty();
}

// For the answering thread, which waits.
void DeviceDrive::run_again() {
  Run* run = nullptr;
  {
    auto state = state_.lock();
    run = state->again;
  }
  if (run == nullptr) return;
  if (run_in_parts(*run)) run->status = {};
  state_.lock()->again = nullptr;
  changed_.notify_all();
}

void DeviceDrive::run_what_failed_until_all_is_answered() {
  for (;;) {
    {
      auto state = state_.lock();
      while (state->again == nullptr && state->under_way > 0) state.wait(changed_);
      if (state->again == nullptr) return;
    }
    run_again();
  }
}

// False: the device does not respond, and run.status stays the answer.
bool DeviceDrive::run_in_parts(Run& run) {
  run.work.flight.reset();  // waits for what it has enqueued
  if (!executor_.responds().ok()) return false;
  in_parts_ = true;
  Status broken;
  engine::run_in_parts(run.work.batch, [&](backend::Batch& part) {
    if (!broken.ok()) return broken;
    assemble::DeviceExecutor::UnderWay one{std::move(part), nullptr, {}};
    Status status = start(one);
    if (status.ok()) status = finish(one);
    one.flight.reset();
    part = std::move(one.batch);
    if (!status.ok() && !executor_.responds().ok()) broken = status;
    return status;
  });
  in_parts_ = false;
  run.work.batch.inputs.clear();
  run.work.batch.outputs.clear();
  run.work.batch.output_ready = lane_.clock().now();
  return true;
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
  run->status = start(run->work);
  while (!run->status.ok() && std::exchange(gave_way_, false)) {
    run->work.flight.reset();
    run_again();
    run->status = start(run->work);
  }
  gave_way_ = false;
  run->over = !run->status.ok();  // giving its flight up would wait for those before it
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

// By the instance's thread, wherever it is. False: nothing came of it.
bool DeviceDrive::have_run_in_parts(Run& run) {
  state_.lock()->again = &run;
  changed_.notify_all();
  lane_.interrupt(instance_);
  auto state = state_.lock();
  while (state->again != nullptr) state.wait(changed_);
  return run.status.ok();
}

void DeviceDrive::answer(Run& run) {
  backend::Batch& batch = run.work.batch;
  if (!run.over) run.status = finish(run.work);
  const bool failed =
      !run.status.ok() && !(Halving::helps(run.status, batch.requests.size()) && have_run_in_parts(run));
  lane_.ended(instance_);
  if (failed) assemble::fail_batch(batch, run.status);
  if (batch.output_ready == TimePoint{}) batch.output_ready = batch.input_ready;
  const bool gives_up = run.work.flight != nullptr;
  {
    auto state = state_.lock();
    if (gives_up) state->given_up.push_back(std::move(run.work.flight));
    --state->under_way;
    ++state->left;
  }
  changed_.notify_all();
  if (gives_up) lane_.interrupt(instance_);  // others may wait for its memory, and no request may come
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
