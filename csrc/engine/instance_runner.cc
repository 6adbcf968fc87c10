#include "engine/instance_runner.h"

#include <exception>

#include "engine/execution.h"
#include "engine/thread_name.h"
#include "engine/tracked_sink.h"
#include "engine/warmup.h"

namespace argosy::engine {

InstanceRunner::InstanceRunner(std::shared_ptr<Lane> lane, backend::LoadedModel& loaded, backend::InstanceSlot slot,
                               BytesPool& pool)
    : lane_(std::move(lane)), loaded_(loaded), slot_(std::move(slot)), pool_(pool) {
  std::promise<Status> ready;
  ready_ = ready.get_future();
  thread_ = std::thread([this, ready = std::move(ready)]() mutable {
    name_this_thread("argosy-" + lane_->spec().name);
    run(std::move(ready));
  });
}

Status InstanceRunner::wait_ready() { return ready_.get(); }

Status InstanceRunner::healthy() {
  std::shared_ptr<backend::Instance> instance;
  {
    auto held = instance_.lock();
    instance = *held;
  }
  if (!instance) return unavailable("instance '" + slot_.name + "' is not running");
  return instance->healthy();
}

void InstanceRunner::ask_healthy(backend::Instance::Health done) {
  std::shared_ptr<backend::Instance> instance;
  {
    auto held = instance_.lock();
    instance = *held;
  }
  if (!instance) return done(unavailable("instance '" + slot_.name + "' is not running"));
  instance->ask_healthy(std::move(done));
}

void InstanceRunner::cancel_running() {
  std::vector<std::shared_ptr<infer::Cancellation>> running;
  {
    auto held = running_.lock();
    running = *held;
  }
  for (const auto& cancellation : running) cancellation->cancel();
}

void InstanceRunner::join() {
  if (thread_.joinable()) thread_.join();
}

void InstanceRunner::run(std::promise<Status> ready) {
  std::shared_ptr<backend::Instance> instance;
  Status status;
  try {
    auto made = loaded_.make_instance(slot_);
    if (made.ok()) {
      instance = std::move(*made);
      status = warm_up(lane_->spec(), *instance, pool_, lane_->clock());
    } else {
      status = made.status();
    }
  } catch (const std::exception& error) {
    status = internal_error("instance '" + slot_.name + "': " + error.what());
  }
  if (!status.ok()) {
    instance.reset();
    ready.set_value(std::move(status));
    return;
  }
  *instance_.lock() = instance;
  ready.set_value({});

  while (auto taken = lane_->take(slot_.index)) run_batch(*instance, std::move(*taken));

  // Requests that the instance kept still need it.
  lane_->gate().wait_empty(TimePoint::max());
  instance_.lock()->reset();
}

void InstanceRunner::run_batch(backend::Instance& instance, ModelQueue::Taken taken) {
  const bool pieces = instance.intake() == backend::Intake::pieces;
  backend::Batch batch;
  batch.requests.reserve(taken.items.size());
  orders_.clear();
  {
    auto running = running_.lock();
    for (auto& item : taken.items) {
      if (item.request->cancellation) running->push_back(item.request->cancellation);
      orders_.push_back(item.order);
      batch.requests.push_back(std::move(item.request));
    }
  }
  taken.items.clear();

  std::vector<TrackedSink*> sinks;
  std::uint32_t rows = 0;
  if (pieces) {
    const TimePoint now = lane_->clock().now();
    for (std::size_t i = 0; i < batch.requests.size(); ++i) {
      infer::Request& request = *batch.requests[i];
      request.timings.input_ready = now;
      request.reply.wrap([&](std::unique_ptr<infer::ReplySink> inner) {
        auto sink =
            std::make_unique<TrackedSink>(lane_, slot_.index, request, orders_[i], taken.free_since, std::move(inner));
        sinks.push_back(sink.get());
        return sink;
      });
    }
  }

  const Executed times = execute(lane_->spec(), instance, pool_, lane_->clock(), batch);
  running_.lock()->clear();
  rows = batch.rows;
  if (!pieces) {
    for (auto& request : batch.requests) {
      request->timings.input_ready = times.input_ready;
      request->timings.output_ready = times.output_ready;
    }
    lane_->answer(slot_.index, batch.requests, batch.answers, orders_, rows, taken.free_since);
    return;
  }

  lane_->accounting().count_execution(slot_.index, rows,
                                      {.taken = taken.when,
                                       .input_ready = times.input_ready,
                                       .output_ready = times.output_ready,
                                       .done = lane_->clock().now()});
  for (std::size_t i = 0; i < batch.requests.size(); ++i) {
    if (!batch.requests[i]) continue;  // the instance kept it
    sinks[i]->ran(times.input_ready, times.output_ready);
    std::move(batch.requests[i]->reply).finish(std::move(batch.answers[i]));
  }
}

}  // namespace argosy::engine
