#pragma once

// DeviceExecutor: keeps a device busy with batches, several under way at a time, and
// answers them in the order they came.
//
// submit() assembles and enqueues; it waits for the device only when `depth` batches
// are under way, and then for the oldest. With depth 2 the next batch is assembled and
// copied in while this one computes; with 3 the one before also returns meanwhile.
//
// Thread: one at a time: the instance's own.

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "assemble/device_batch.h"
#include "assemble/device_pipeline.h"
#include "backend/backend.h"
#include "model/spec.h"

namespace argosy::assemble {

// Where a model may put its outputs, once a batch.
class OutputMemory {
 public:
  OutputMemory(DevicePipeline& pipeline, Flight& flight) : pipeline_(pipeline), flight_(flight) {}
  // Places of these sizes in device memory, for work on the stream.
  Result<std::vector<std::byte*>> reserve(std::span<const std::size_t> bytes) {
    return pipeline_.reserve(flight_, bytes);
  }

 private:
  DevicePipeline& pipeline_;
  Flight& flight_;
};

// A model whose work is enqueued, not run.
class DeviceModel {
 public:
  virtual ~DeviceModel() = default;
  // batch.inputs lie on the device, padded rows included. Enqueues on `stream` and sets
  // batch.outputs: in memory from `memory`, in device memory that the tensor owns, or
  // in host memory that is ready now. Nothing here may wait for the device.
  virtual Status enqueue(device::Stream& stream, backend::Batch& batch, OutputMemory& memory) = 0;
};

class DeviceExecutor {
 public:
  struct Options {
    std::size_t depth = 3;  // >= 1
    ShapeRules shapes;
  };

  // `pipeline` and `model` outlive this.
  DeviceExecutor(model::SpecPtr spec, DevicePipeline& pipeline, DeviceModel& model, Options options)
      : spec_(std::move(spec)), pipeline_(pipeline), model_(model), options_(std::move(options)) {}

  // What is finished by now: batches with one answer per request. One that could not be
  // started is among them, its failure in each answer.
  std::vector<backend::Batch> submit(backend::Batch batch);

  // The oldest under way, awaited; nothing if none is.
  std::optional<backend::Batch> finish_oldest();

  std::size_t under_way() const { return under_way_.size(); }

 private:
  struct UnderWay {
    backend::Batch batch;
    std::unique_ptr<Flight> flight;  // dies before the batch: its copies read the requests' memory
    std::vector<std::size_t> flown;  // which of batch.outputs the flight carries
  };

  Status start(UnderWay& one);
  Status finish(UnderWay& one);

  const model::SpecPtr spec_;
  DevicePipeline& pipeline_;
  DeviceModel& model_;
  const Options options_;
  std::deque<UnderWay> under_way_;
};

}  // namespace argosy::assemble
