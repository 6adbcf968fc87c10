#include "assemble/device_executor.h"

#include "assemble/scatter.h"

namespace argosy::assemble {
namespace {

void fail(backend::Batch& batch, const Status& status) {
  batch.inputs.clear();  // device memory that is somebody else's by now
  batch.outputs.clear();
  batch.answers.clear();
  for (std::size_t i = 0; i < batch.requests.size(); ++i) batch.answers.push_back({status, {}, {}});
}

}  // namespace

Status DeviceExecutor::start(UnderWay& one) {
  auto parts = device_parts(*spec_, one.batch, options_.shapes);
  if (!parts.ok()) return parts.status();
  auto flight = pipeline_.load(*parts);
  if (!flight.ok()) {
    const Status why = flight.status();
    return Status(why.code(), "model '" + spec_->name + "': " + why.message());
  }
  one.flight = *std::move(flight);
  set_input_data(one.batch, one.flight->inputs());

  OutputMemory memory(pipeline_, *one.flight);
  if (auto status = model_.enqueue(pipeline_.compute(), one.batch, memory); !status.ok()) return status;
  drop_padding(*spec_, one.batch, padded_rows(options_.shapes, one.batch.rows));
  std::vector<device::Memory> leaving;
  leaving.reserve(one.batch.outputs.size());
  for (std::size_t i = 0; i < one.batch.outputs.size(); ++i) {
    if (one.batch.outputs[i].data.on_host()) continue;
    one.flown.push_back(i);
    leaving.push_back(std::move(one.batch.outputs[i].data));
  }
  one.batch.inputs.clear();  // their memory is the next batch's as soon as this one has computed
  return pipeline_.unload(*one.flight, std::move(leaving));
}

Status DeviceExecutor::finish(UnderWay& one) {
  auto arrived = pipeline_.collect(*one.flight);
  if (!arrived.ok()) return arrived.status();
  for (std::size_t i = 0; i < one.flown.size(); ++i) {
    one.batch.outputs[one.flown[i]].data = std::move((*arrived)[i]);
  }
  return scatter(*spec_, one.batch);
}

std::vector<backend::Batch> DeviceExecutor::submit(backend::Batch batch) {
  std::vector<backend::Batch> finished;
  UnderWay one{std::move(batch), nullptr, {}};
  if (auto status = start(one); !status.ok()) {
    one.flight.reset();
    fail(one.batch, status);
    // Whoever came before is answered before.
    while (auto before = finish_oldest()) finished.push_back(*std::move(before));
    finished.push_back(std::move(one.batch));
    return finished;
  }
  under_way_.push_back(std::move(one));
  if (under_way_.size() >= options_.depth) finished.push_back(*finish_oldest());
  return finished;
}

std::optional<backend::Batch> DeviceExecutor::finish_oldest() {
  if (under_way_.empty()) return std::nullopt;
  UnderWay one = std::move(under_way_.front());
  under_way_.pop_front();
  if (auto status = finish(one); !status.ok()) fail(one.batch, status);
  one.flight.reset();
  return std::move(one.batch);
}

}  // namespace argosy::assemble
