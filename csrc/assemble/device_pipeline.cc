#include "assemble/device_pipeline.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "assemble/alignment.h"
#include "assemble/output_plan.h"
#include "base/bytes_pool.h"
#include "base/log.h"
#include "device/settle.h"

namespace argosy::assemble {

using device::Direction;
using device::EventPtr;
using device::Memory;
using device::Stream;

Result<std::unique_ptr<DevicePipeline>> DevicePipeline::make(DeviceResources resources, PipelineOptions options) {
  std::unique_ptr<DevicePipeline> made(new DevicePipeline(std::move(resources), options));
  for (auto* stream : {&made->copy_in_, &made->compute_, &made->copy_out_}) {
    auto one = made->resources_.device->make_stream();
    if (!one.ok()) return one.status();
    *stream = *std::move(one);
  }
  auto settled = made->resources_.device->make_event();
  if (!settled.ok()) return settled.status();
  made->settled_ = *std::move(settled);
  return made;
}

Flight::~Flight() {
  if (collected_ || !pipeline_.options_.ordering.drain_before_giving_up || pipeline_.drain().ok()) return;
  auto& remains = pipeline_.unsettled_.emplace_back();
  for (device::Lease* lease : {&block_, &staging_, &reserved_, &pack_, &host_}) {
    if (*lease) remains.leases.push_back(std::move(*lease));
  }
  remains.ordinary = std::move(ordinary_);
  remains.received = std::move(received_);
  remains.returned = std::move(returned_);
  remains.given_up = std::move(given_up_);
}

// A flight that fails may have enqueued anything on any stream. This waits for the
// flights beside it too; it is not the usual way.
Status DevicePipeline::drain() {
  for (Stream* stream : {copy_in_.get(), compute_.get(), copy_out_.get()}) {
    if (auto status = device::settle(*stream, *settled_); !status.ok()) return status;
  }
  return {};
}

Status DevicePipeline::end_unsettled() {
  if (unsettled_.empty()) return {};
  if (auto status = drain(); !status.ok()) return status;
  unsettled_.clear();
  return {};
}

// An event per step and batch: making one costs about what reusing one would.
Result<EventPtr> DevicePipeline::recorded(Stream& stream) {
  auto event = resources_.device->make_event();
  if (!event.ok()) return event.status();
  if (auto status = stream.record(**event); !status.ok()) return status;
  return event;
}

Status DevicePipeline::responds() {
  const auto reached = recorded(*compute_);
  return reached.ok() ? (*reached)->wait() : reached.status();
}

// Pinned memory, or ordinary memory where that will do.
Status DevicePipeline::take_host(std::size_t bytes, HostEnd host, device::Lease& pinned, Buffer& ordinary) const {
  auto taken = resources_.pinned->take(bytes);
  if (taken.ok()) {
    pinned = *std::move(taken);
    return {};
  }
  if (host == HostEnd::pinned || taken.status().code() != StatusCode::resource_exhausted) return taken.status();
  ordinary = default_pool().allocate(bytes);
  if (!ordinary) return resource_exhausted("no host memory of " + std::to_string(bytes) + " bytes for a batch");
  if (resources_.pinned->did_without()) {
    log(LogLevel::warning, taken.status().message() +
                               "; ordinary memory is used instead, which is slower. This is said once; "
                               "argosy_pinned_memory_pool_fallbacks_total counts");
  }
  return {};
}

Status DevicePipeline::fill_block(Flight& flight, InputPlan& plan) {
  std::byte* const block = flight.block_.data();
  std::byte* const staging = flight.ordinary_ ? flight.ordinary_.data() : flight.staging_.data();
  for (const auto& stage : plan.staged) {
    std::byte* const to = staging + stage.at;
    if (stage.zeros > 0) std::memset(to, 0, stage.zeros);
    if (!stage.from.empty()) std::memcpy(to, stage.from.data(), stage.from.size());
  }
  for (const auto& stretch : plan.stretches) {
    const auto copy = flight.ordinary_ ? &Stream::copy_and_wait : &Stream::copy;
    auto status =
        (*copy_in_.*copy)(block + stretch.at, staging + stretch.staged_at, stretch.bytes, Direction::to_device);
    if (!status.ok()) return status;
  }
  for (auto& part : plan.direct) {
    auto status = copy_in_->copy(block + part.at, part.from.data(), part.from.size(), Direction::to_device);
    if (!status.ok()) return status;
    if (options_.ordering.keep_received_until_copied) flight.received_.push_back(std::move(part.from));
  }
  std::vector<device::Piece> pieces;
  pieces.reserve(plan.on_device.size());
  for (auto& part : plan.on_device) {
    pieces.push_back({block + part.at, part.from.data(), part.from.size()});
    if (options_.ordering.keep_received_until_copied) flight.received_.push_back(std::move(part.from));
  }
  if (!pieces.empty()) {
    if (auto status = copy_in_->move(pieces); !status.ok()) return status;
  }
  for (const auto& zeros : plan.zeros) {
    if (auto status = copy_in_->fill(block + zeros.at, 0, zeros.bytes); !status.ok()) return status;
  }
  return {};
}

Result<std::unique_ptr<Flight>> DevicePipeline::load(std::span<const InputParts> inputs, HostEnd host) {
  if (auto status = end_unsettled(); !status.ok()) return status;
  auto plan = plan_inputs(inputs, {options_.direct_bytes, resources_.device->properties().ordinal});
  if (!plan.ok()) return plan.status();

  // Whoever finds no room has enqueued nothing, and may come again.
  device::Lease staging;
  Buffer ordinary;
  if (plan->staging_bytes > 0) {
    if (auto status = take_host(plan->staging_bytes, host, staging, ordinary); !status.ok()) return status;
  }
  device::Lease block;
  if (plan->block_bytes > 0) {
    auto taken = resources_.memory->take_for(*copy_in_, plan->block_bytes);
    if (!taken.ok()) return taken.status();
    block = *std::move(taken);
  }
  std::unique_ptr<Flight> flight(new Flight(*this));
  flight->staging_ = std::move(staging);
  flight->ordinary_ = std::move(ordinary);
  flight->block_ = std::move(block);
  if (auto status = fill_block(*flight, *plan); !status.ok()) return status;
  auto loaded = recorded(*copy_in_);
  if (!loaded.ok()) return loaded.status();
  flight->loaded_ = *std::move(loaded);
  if (options_.ordering.compute_after_copy_in) {
    if (auto status = compute_->wait(*flight->loaded_); !status.ok()) return status;
  }
  if (flight->staging_) {
    if (options_.ordering.stage_after_copy_in) flight->staging_.fence(flight->loaded_);
    flight->staging_.give_back();
  }
  flight->ordinary_ = {};
  flight->inputs_.reserve(plan->inputs.size());
  for (const auto& place : plan->inputs) {
    // No owner: the flight's lease holds the block until unload().
    flight->inputs_.emplace_back(nullptr, flight->block_.data() + place.at, place.bytes, resources_.device->place());
  }
  return flight;
}

Result<std::vector<std::byte*>> DevicePipeline::reserve(Flight& flight, std::span<const std::size_t> bytes) {
  assert(!flight.reserved_);
  std::vector<std::size_t> begins;
  begins.reserve(bytes.size());
  std::size_t at = 0;
  for (const std::size_t each : bytes) {
    at = aligned(at);
    begins.push_back(at);
    at += each;
  }
  auto block = resources_.memory->take_for(*compute_, at);
  if (!block.ok()) return block.status();
  flight.reserved_ = *std::move(block);
  std::vector<std::byte*> places;
  places.reserve(begins.size());
  for (const std::size_t begin : begins) places.push_back(flight.reserved_.data() + begin);
  return places;
}

Status DevicePipeline::copy_outputs(Flight& flight, HostEnd host) {
  const auto plan =
      plan_outputs(flight.returned_, {flight.reserved_.data(), flight.reserved_.size()}, options_.direct_bytes);
  flight.begins_ = plan.begins;
  // What an attempt that found no room has taken already is kept for the next.
  if (plan.host_bytes > 0 && !flight.host_ && !flight.ordinary_) {
    if (auto status = take_host(plan.host_bytes, host, flight.host_, flight.ordinary_); !status.ok()) return status;
  }
  if (plan.pack_bytes > 0 && !flight.pack_) {
    auto pack = resources_.memory->take_for(*compute_, plan.pack_bytes);
    if (!pack.ok()) return pack.status();
    flight.pack_ = *std::move(pack);
  }
  if (plan.pack_bytes > 0) {
    std::vector<device::Piece> pieces;
    pieces.reserve(plan.packed.size());
    for (const auto& one : plan.packed) pieces.push_back({flight.pack_.data() + one.at, one.from, one.bytes});
    if (auto status = compute_->move(pieces); !status.ok()) return status;
  }
  auto computed = recorded(*compute_);
  if (!computed.ok()) return computed.status();
  flight.computed_ = *std::move(computed);
  if (options_.ordering.copy_out_after_compute) {
    if (auto status = copy_out_->wait(*flight.computed_); !status.ok()) return status;
  }
  for (const auto& copy : plan.copies) {
    const std::byte* const from = copy.from == nullptr ? flight.pack_.data() : copy.from;
    auto status =
        flight.ordinary_
            ? copy_out_->copy_and_wait(flight.ordinary_.data() + copy.at, from, copy.bytes, Direction::to_host)
            : copy_out_->copy(flight.host_.data() + copy.at, from, copy.bytes, Direction::to_host);
    if (!status.ok()) return status;
  }
  auto arrived = recorded(*copy_out_);
  if (!arrived.ok()) return arrived.status();
  flight.arrived_ = *std::move(arrived);
  return {};
}

Status DevicePipeline::unload(Flight& flight, std::vector<Memory> outputs, HostEnd host) {
  assert(!flight.arrived_);
  flight.returned_ = std::move(outputs);  // first of all: whatever fails below, work may still write there
  if (auto status = copy_outputs(flight, host); !status.ok()) return status;
  flight.sizes_.reserve(flight.returned_.size());
  for (const Memory& output : flight.returned_) flight.sizes_.push_back(output.size());
  const std::span<const std::byte> block(flight.block_.data(), flight.block_.size());
  const bool passes_on = std::any_of(flight.returned_.begin(), flight.returned_.end(),
                                     [&](const Memory& output) { return !output.empty() && lies_in(output, block); });
  if (!options_.ordering.keep_returned_until_copied) flight.returned_.clear();

  // The next batch may take the blocks from here on; its stream waits for the fences.
  if (options_.ordering.copy_in_after_compute && flight.block_) flight.block_.fence(flight.computed_);
  if (options_.ordering.keep_passed_on_until_copied && passes_on) flight.block_.fence(flight.arrived_);
  flight.block_.give_back();
  for (device::Lease* lease : {&flight.reserved_, &flight.pack_}) {
    if (options_.ordering.compute_after_copy_out && *lease) lease->fence(flight.arrived_);
    lease->give_back();
  }
  return {};
}

Result<std::vector<Memory>> DevicePipeline::collect(Flight& flight) {
  assert(flight.arrived_ && !flight.collected_);
  if (options_.ordering.read_after_copy_out) {
    if (auto status = flight.arrived_->wait(); !status.ok()) return status;
  }
  flight.collected_ = true;
  flight.received_.clear();
  flight.returned_.clear();
  std::vector<Memory> outputs;
  outputs.reserve(flight.sizes_.size());
  if (!flight.host_ && !flight.ordinary_) {
    outputs.resize(flight.sizes_.size());
    return outputs;
  }
  const std::size_t size = flight.ordinary_ ? flight.ordinary_.capacity() : flight.host_.size();
  const Memory whole =
      flight.ordinary_ ? Memory(std::move(flight.ordinary_).freeze(size)) : std::move(flight.host_).share(size);
  for (std::size_t i = 0; i < flight.sizes_.size(); ++i) {
    outputs.push_back(whole.slice(flight.begins_[i], flight.sizes_[i]));
  }
  return outputs;
}

}  // namespace argosy::assemble
