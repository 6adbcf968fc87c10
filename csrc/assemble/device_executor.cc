#include "assemble/device_executor.h"

#include <span>
#include <utility>

#include "assemble/scatter.h"

namespace argosy::assemble {
namespace {

// What the model sees of its batch's place in the pipeline.
template <class Reserve>
class FlightMemory final : public backend::OutputMemory {
 public:
  explicit FlightMemory(Reserve reserve) : reserve_(std::move(reserve)) {}

  Result<std::vector<std::byte*>> reserve(std::span<const std::size_t> bytes) override {
    if (std::exchange(reserved_, true)) {
      return invalid_argument("memory for outputs is reserved once a batch, for all of them together");
    }
    return reserve_(bytes);
  }

 private:
  Reserve reserve_;
  bool reserved_ = false;
};

// Unless dismissed: what a model returned before something failed, also by an exception,
// lives as long as the flight, since work that is enqueued may still write there.
class KeepsOutputs {
 public:
  KeepsOutputs(Flight& flight, std::vector<tensor::Tensor>& outputs) : flight_(&flight), outputs_(outputs) {}
  ~KeepsOutputs() {
    if (flight_ == nullptr) return;
    flight_->keep(std::move(outputs_));
    outputs_.clear();
  }
  KeepsOutputs(const KeepsOutputs&) = delete;
  KeepsOutputs& operator=(const KeepsOutputs&) = delete;
  void dismiss() { flight_ = nullptr; }

 private:
  Flight* flight_;
  std::vector<tensor::Tensor>& outputs_;
};

Status named(const model::ModelSpec& spec, const Status& why) {
  return why.ok() ? why : Status(why.code(), "model '" + spec.name + "': " + why.message());
}

}  // namespace

void fail_batch(backend::Batch& batch, const Status& status) {
  batch.inputs.clear();
  batch.outputs.clear();
  batch.answers.clear();
  for (std::size_t i = 0; i < batch.requests.size(); ++i) batch.answers.push_back({status, {}, {}});
}

template <class Step>
Status DeviceExecutor::with_room(Step step) const {
  for (;;) {
    const Status status = step(HostEnd::pinned);
    if (status.code() != StatusCode::resource_exhausted) return status;
    const Room room = options_.make_room ? options_.make_room() : Room::none;
    if (room == Room::later) return status;
    if (room == Room::none) return step(HostEnd::any);
  }
}

Status DeviceExecutor::start(UnderWay& one) {
  auto parts = device_parts(*spec_, one.batch, options_.shapes);
  if (!parts.ok()) return parts.status();
  one.batch.outputs.clear();
  one.flown.clear();
  Status status = with_room([&](HostEnd host) {
    auto flight = pipeline_.load(*parts, host);
    if (flight.ok()) one.flight = *std::move(flight);
    return flight.status();
  });
  if (!status.ok()) return named(*spec_, status);
  set_input_data(one.batch, one.flight->inputs());

  FlightMemory memory([&](std::span<const std::size_t> bytes) -> Result<std::vector<std::byte*>> {
    std::vector<std::byte*> places;
    const Status reserved = with_room([&](HostEnd) {
      auto taken = pipeline_.reserve(*one.flight, bytes);
      if (taken.ok()) places = *std::move(taken);
      return taken.status();
    });
    if (!reserved.ok()) return reserved;
    return places;
  });
  KeepsOutputs keeps(*one.flight, one.batch.outputs);
  if (status = model_.enqueue(pipeline_.compute(), one.batch, memory); !status.ok()) return status;
  drop_padding(*spec_, one.batch);
  std::vector<device::Memory> leaving;
  leaving.reserve(one.batch.outputs.size());
  for (std::size_t i = 0; i < one.batch.outputs.size(); ++i) {
    if (one.batch.outputs[i].data.on_host()) continue;
    one.flown.push_back(i);
    leaving.push_back(one.batch.outputs[i].data);
  }
  one.batch.inputs.clear();  // their memory is the next batch's as soon as this one has computed
  status = with_room([&](HostEnd host) { return pipeline_.unload(*one.flight, leaving, host); });
  if (!status.ok()) return named(*spec_, status);
  keeps.dismiss();
  for (const std::size_t i : one.flown) one.batch.outputs[i].data = {};  // the flight has it now
  return {};
}

Status DeviceExecutor::await(UnderWay& one) const {
  auto arrived = pipeline_.collect(*one.flight);
  if (!arrived.ok()) return named(*spec_, arrived.status());
  for (std::size_t i = 0; i < one.flown.size(); ++i) {
    one.batch.outputs[one.flown[i]].data = std::move((*arrived)[i]);
  }
  return {};
}

Status DeviceExecutor::finish(UnderWay& one) const {
  const Status status = await(one);
  return status.ok() ? scatter(*spec_, one.batch) : status;
}

std::vector<backend::Batch> DeviceExecutor::submit(backend::Batch batch) {
  std::vector<backend::Batch> finished;
  UnderWay one{std::move(batch), nullptr, {}};
  if (auto status = start(one); !status.ok()) {
    one.flight.reset();
    fail_batch(one.batch, status);
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
  if (auto status = finish(one); !status.ok()) fail_batch(one.batch, status);
  one.flight.reset();
  return std::move(one.batch);
}

}  // namespace argosy::assemble
