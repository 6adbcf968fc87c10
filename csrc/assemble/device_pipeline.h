#pragma once

// DevicePipeline: batches on their way through one device: in, computed, out. Several
// are under way at once: while one computes, the next is assembled and copied in and
// the one before returns.
//
//   load()     inputs are gathered and their copies enqueued     stream: copy_in
//   compute()  the model enqueues its work here                  stream: compute
//   unload()   the copies of its outputs are enqueued            stream: copy_out
//   collect()  waits for them; outputs are slices of pinned memory
//
// The three streams are ordered by events alone (ordering.h lists the rules), and only
// collect() waits for the device. What a batch uses comes from pools and goes back to
// them at once, fenced. A Flight that is dropped halfway waits until its memory is
// free of enqueued work; where the device does not tell, the pipeline keeps that memory
// and takes no more work until it does. Where the pinned pool has no room and will have none, ordinary
// memory does, and its copies are waited for: slower, counted, and said once.
//
// Thread: one at a time: the instance's own. Flights die before the pipeline.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "assemble/input_plan.h"
#include "assemble/ordering.h"
#include "base/bytes.h"
#include "device/device.h"
#include "device/pool.h"
#include "tensor/tensor.h"

namespace argosy::assemble {

struct DeviceResources {
  device::DevicePtr device;
  std::shared_ptr<device::Pool> pinned;
  std::shared_ptr<device::Pool> memory;
};

struct PipelineOptions {
  std::size_t direct_bytes = 64u << 10;  // see InputRules
  Ordering ordering;
};

// What a batch's host end may lie in.
enum class HostEnd : std::uint8_t { pinned, any };

class DevicePipeline;

// One batch under way.
class Flight {
 public:
  ~Flight();
  Flight(const Flight&) = delete;
  Flight& operator=(const Flight&) = delete;

  // One per input, in device memory; for work that is enqueued on compute().
  const std::vector<device::Memory>& inputs() const { return inputs_; }

  // For a batch that is given up: what its work may still write lives as long as the work.
  void keep(std::vector<tensor::Tensor> outputs) noexcept { given_up_ = std::move(outputs); }

 private:
  friend class DevicePipeline;
  explicit Flight(DevicePipeline& pipeline) : pipeline_(pipeline) {}

  DevicePipeline& pipeline_;
  device::Lease block_;    // of the inputs
  device::Lease staging_;  // gone once its copy is enqueued
  Buffer ordinary_;        // instead of staging_, then instead of host_
  device::Lease reserved_;
  device::Lease pack_;
  device::Lease host_;
  std::vector<device::Memory> inputs_;
  std::vector<device::Memory> received_;  // what copies still read
  std::vector<device::Memory> returned_;  // likewise, of the model's own
  std::vector<tensor::Tensor> given_up_;
  std::vector<std::size_t> begins_;
  std::vector<std::size_t> sizes_;
  device::EventPtr loaded_;
  device::EventPtr computed_;
  device::EventPtr arrived_;
  bool collected_ = false;
};

class DevicePipeline {
 public:
  // The failures of Device::make_stream() and make_event().
  static Result<std::unique_ptr<DevicePipeline>> make(DeviceResources resources, PipelineOptions options = {});
  ~DevicePipeline() { (void)end_unsettled(); }

  // resource_exhausted: a pool has no room. Also the failures of plan_inputs() and of
  // the device. Nothing is under way after a failure. With HostEnd::any it may block.
  Result<std::unique_ptr<Flight>> load(std::span<const InputParts> inputs, HostEnd host = HostEnd::pinned);

  device::Stream& compute() { return *compute_; }

  // Memory for outputs of these sizes, for work that is enqueued on compute(). At most
  // once a flight.
  Result<std::vector<std::byte*>> reserve(Flight& flight, std::span<const std::size_t> bytes);

  // After the model has enqueued its work: outputs in reserved memory, inputs passed on
  // (no owner, both), or memory that `outputs` own. resource_exhausted: may be tried again.
  Status unload(Flight& flight, std::vector<device::Memory> outputs, HostEnd host = HostEnd::pinned);

  // Blocks until the outputs have arrived: host memory, in unload()'s order. Touches the
  // flight alone: another thread may do it, and drop the flight once this was ok.
  Result<std::vector<device::Memory>> collect(Flight& flight);

  // Whether the device still does what it is told; waits for what is enqueued on compute().
  Status responds();

  const device::DevicePtr& device() const { return resources_.device; }

 private:
  friend class Flight;
  DevicePipeline(DeviceResources resources, PipelineOptions options)
      : resources_(std::move(resources)), options_(options) {}

  Status fill_block(Flight& flight, InputPlan& plan);
  Status copy_outputs(Flight& flight, HostEnd host);
  Status take_host(std::size_t bytes, HostEnd host, device::Lease& pinned, Buffer& ordinary) const;
  Result<device::EventPtr> recorded(device::Stream& stream);
  Status drain();
  Status end_unsettled();

  // What a flight held whose work may not be over.
  struct Remains {
    std::vector<device::Lease> leases;
    Buffer ordinary;
    std::vector<device::Memory> received;
    std::vector<device::Memory> returned;
    std::vector<tensor::Tensor> given_up;
  };

  const DeviceResources resources_;
  const PipelineOptions options_;
  std::vector<Remains> unsettled_;  // outlives the streams: their end is the last that can be waited for
  device::EventPtr settled_;
  std::unique_ptr<device::Stream> copy_in_;
  std::unique_ptr<device::Stream> compute_;
  std::unique_ptr<device::Stream> copy_out_;
};

}  // namespace argosy::assemble
