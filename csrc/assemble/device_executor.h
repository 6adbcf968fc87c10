#pragma once

// DeviceExecutor: batches through a device model: assembled, enqueued, awaited, cut into
// answers.
//
// start() and await() are one batch's two halves, for whoever keeps several under way and
// counts them himself. submit() and finish_oldest() do that on one thread: submit() waits
// for the device only when `depth` batches are under way, and then for the oldest. With
// depth 2 the next batch is assembled and copied in while this one computes; with 3 the
// one before also returns meanwhile.
//
// Thread: one at a time: the instance's own; await() any, beside the others.

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "assemble/device_batch.h"
#include "assemble/device_pipeline.h"
#include "backend/backend.h"
#include "backend/device_model.h"
#include "model/spec.h"

namespace argosy::assemble {

// What came of waiting for memory.
enum class Room : std::uint8_t {
  made,   // another batch has given its memory back
  none,   // there is none to wait for: ordinary memory does for pinned, and nothing for a device's
  later,  // something else has to be done first: the batch fails, to be started over
};

class DeviceExecutor {
 public:
  struct Options {
    std::size_t depth = 3;  // >= 1
    ShapeRules shapes;
    // Asked when a pool has no room; null: there never will be any.
    std::function<Room()> make_room;
  };

  struct UnderWay {
    backend::Batch batch;
    std::unique_ptr<Flight> flight;  // dies before the batch: its copies read the requests' memory
    std::vector<std::size_t> flown;  // which of batch.outputs the flight carries
  };

  // `pipeline` and `model` outlive this.
  DeviceExecutor(model::SpecPtr spec, DevicePipeline& pipeline, backend::DeviceModel& model, Options options)
      : spec_(std::move(spec)), pipeline_(pipeline), model_(model), options_(std::move(options)) {}

  // Assembles one.batch and enqueues its work. After a failure its flight, if it has one,
  // must be dropped on this thread; it may wait for what was enqueued.
  Status start(UnderWay& one);
  // Blocks until batch.outputs lie in host memory. After a failure, likewise.
  Status await(UnderWay& one) const;
  // Whether the device still works, after something has failed there.
  Status responds() const { return pipeline_.responds(); }

  // What is finished by now: batches with one answer per request. One that could not be
  // started is among them, its failure in each answer.
  std::vector<backend::Batch> submit(backend::Batch batch);

  // The oldest under way, awaited; nothing if none is.
  std::optional<backend::Batch> finish_oldest();

  std::size_t under_way() const { return under_way_.size(); }

 private:
  template <class Step>
  Status with_room(Step step) const;
  Status finish(UnderWay& one) const;

  const model::SpecPtr spec_;
  DevicePipeline& pipeline_;
  backend::DeviceModel& model_;
  const Options options_;
  std::deque<UnderWay> under_way_;
};

// `status` as the answer of each request; nothing of the device's memory is left in the batch.
void fail_batch(backend::Batch& batch, const Status& status);

}  // namespace argosy::assemble
