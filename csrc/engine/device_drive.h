#pragma once

// DeviceDrive: keeps an instance busy whose work is enqueued on a device. The instance's
// thread takes and starts batches while fewer than `depth` are under way; a second thread
// waits for the oldest and answers it. So nobody has to choose between new work and old
// work, and cutting one batch into answers does not keep the next from being assembled.
// Beyond two, a batch is taken only if it is a full one: behind one that computes and one
// that is ready, requests are better off where others can join them.
//
// Batches are answered in the order they were taken. One that could not be started, or
// whose work failed, is run again in its turn, in parts and each alone, so that only the
// requests fail that fail alone (halving.h); those behind it keep what they have enqueued.
// Nothing is tried again on a device that no longer responds.
//
// Thread: the instance's own. The model is called there and nowhere else.

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "assemble/device_executor.h"
#include "base/guarded.h"
#include "engine/lane.h"

namespace argosy::engine {

class DeviceDrive {
 public:
  using Running = Guarded<std::vector<std::shared_ptr<infer::Cancellation>>>;

  // All of these outlive this; `running` holds who could be cancelled of what is under way.
  DeviceDrive(Lane& lane, std::size_t instance, assemble::DevicePipeline& pipeline, backend::DeviceModel& model,
              Running& running);

  // One batch and nothing beside it: warm-up. Its answers are left in it.
  void run_alone(backend::Batch& batch);

  // Until the lane is closed and drained and all that was taken is answered.
  void run();

 private:
  // Stamps the moment at which a batch is handed to the model.
  class Stamped final : public backend::DeviceModel {
   public:
    Stamped(backend::DeviceModel& model, const Clock& clock) : model_(model), clock_(clock) {}
    Status enqueue(device::Stream& stream, backend::Batch& batch, backend::OutputMemory& memory) override {
      batch.input_ready = clock_.now();
      return model_.enqueue(stream, batch, memory);
    }

   private:
    backend::DeviceModel& model_;
    const Clock& clock_;
  };

  struct Run {
    assemble::DeviceExecutor::UnderWay work;
    Status status;      // of the start, and once it is over of all
    bool over = false;  // nothing is to be waited for but its turn
    std::vector<std::uint64_t> orders;
    std::size_t cancellable = 0;  // so many at the front of `running`
    TimePoint free_since;
  };

  struct State {
    std::deque<std::unique_ptr<Run>> started;
    std::size_t under_way = 0;  // not given their memory back
    std::uint64_t left = 0;     // so many have
    bool over = false;          // nothing more is taken
    Run* again = nullptr;       // the oldest has failed: the instance's thread runs it in parts
    // Of work that failed: for the instance's thread to drop.
    std::vector<std::unique_ptr<assemble::Flight>> given_up;
  };

  void wait_for_place();
  bool has_place(const State& state);
  assemble::Room make_room();
  assemble::Room make_room_behind();
  bool drop_given_up();
  void run_again();
  void run_what_failed_until_all_is_answered();
  bool run_in_parts(Run& run);
  Status start(assemble::DeviceExecutor::UnderWay& work);
  Status finish(assemble::DeviceExecutor::UnderWay& work);
  void take_up(ModelQueue::Taken taken);
  void answer_in_turn();
  void answer(Run& run);
  bool have_run_in_parts(Run& run);

  Lane& lane_;
  const std::size_t instance_;
  const backend::DeviceSettings settings_;
  const std::size_t full_;  // requests that fill a batch for certain
  Running& running_;
  Stamped model_;
  assemble::DeviceExecutor executor_;
  bool in_parts_ = false;  // the instance's thread: a batch is run in parts, and nobody answers meanwhile
  bool gave_way_ = false;  // likewise: a batch found no room because another had to be run in parts first
  Guarded<State> state_;
  std::condition_variable changed_;
};

}  // namespace argosy::engine
