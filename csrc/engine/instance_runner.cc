#include "engine/instance_runner.h"

#include <exception>

#include "backend/device_model.h"
#include "engine/device_drive.h"
#include "engine/execution.h"
#include "engine/thread_name.h"
#include "engine/tracked_sink.h"
#include "engine/warmup.h"

namespace argosy::engine {

InstanceRunner::InstanceRunner(std::shared_ptr<Lane> lane, backend::LoadedModel& loaded, backend::InstanceSlot slot,
                               std::optional<assemble::DeviceResources> device, BytesPool& pool)
    : lane_(std::move(lane)), loaded_(loaded), slot_(std::move(slot)), device_(std::move(device)), pool_(pool) {
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

Result<std::shared_ptr<InstanceRunner::Seat>> InstanceRunner::make_seat() {
  auto seat = std::make_shared<Seat>();
  backend::InstanceSlot slot = slot_;
  if (device_) {
    if (auto status = device_->device->make_current(); !status.ok()) return status;
    auto pipeline = assemble::DevicePipeline::make(*device_);
    if (!pipeline.ok()) return pipeline.status();
    seat->pipeline = *std::move(pipeline);
    slot.stream = seat->pipeline->compute().native();
  }
  auto made = loaded_.make_instance(slot);
  if (!made.ok()) return made.status();
  seat->instance = *std::move(made);
  return seat;
}

void InstanceRunner::run(std::promise<Status> ready) {
  const model::ModelSpec& spec = lane_->spec();
  std::shared_ptr<Seat> seat;
  std::optional<DeviceDrive> drive;
  Status status;
  try {
    auto made = make_seat();
    status = made.status();
    if (status.ok()) {
      seat = *std::move(made);
      backend::DeviceModel* const model = device_ ? seat->instance->device_model() : nullptr;
      if (model != nullptr) {
        drive.emplace(*lane_, slot_.index, *seat->pipeline, *model, running_);
        takes_inputs_on_ = device_->device->place();
      }
      status = warm_up(spec, [&](backend::Batch& batch) {
        if (drive) return drive->run_alone(batch);
        execute(spec, *seat->instance, pool_, lane_->clock(), batch);
      });
    }
  } catch (const std::exception& error) {
    status = internal_error("instance '" + slot_.name + "': " + error.what());
  }
  if (!status.ok()) {
    drive.reset();
    seat.reset();
    ready.set_value(std::move(status));
    return;
  }
  // Whoever asks for its health may hold it longest: then its streams live as long.
  *instance_.lock() = std::shared_ptr<backend::Instance>(seat, seat->instance.get());
  if (!drive && seat->instance->any_thread()) {
    lendable_ = seat->instance.get();
    lane_->lend(slot_.index);
  }
  ready.set_value({});

  if (drive) {
    drive->run();
  } else {
    serve(*seat->instance);
  }
  // Requests that the instance kept still need it.
  lane_->gate().wait_empty(TimePoint::max());
  drive.reset();
  instance_.lock()->reset();
}

void InstanceRunner::serve(backend::Instance& instance) {
  while (auto taken = lane_->take(slot_.index)) run_batch(instance, std::move(*taken));
}

void InstanceRunner::run_loan(ModelQueue::Taken taken) {
  run_batch(*lendable_, std::move(taken));
  lane_->give_back(slot_.index);
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
  lane_->ran(times.output_ready - taken.when);
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
