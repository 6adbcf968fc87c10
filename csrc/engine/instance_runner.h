#pragma once

// InstanceRunner: one instance of a model and its thread: take, execute, reply, until
// the lane is closed and drained. An instance on a GPU that enqueues its work is driven
// by a DeviceDrive instead.
//
// The thread makes the instance, warms it up, and destroys it, so that all instances
// of a model start beside each other and a backend sees one thread per instance. Streams
// are made before the instance and outlive it.
//
// Thread: the owner's for start and join; any for healthy() and cancel_running().

#include <future>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "assemble/device_pipeline.h"
#include "backend/backend.h"
#include "base/bytes_pool.h"
#include "base/guarded.h"
#include "engine/lane.h"

namespace argosy::engine {

class InstanceRunner {
 public:
  // `loaded` and `pool` outlive this. `device`: of a GPU instance.
  InstanceRunner(std::shared_ptr<Lane> lane, backend::LoadedModel& loaded, backend::InstanceSlot slot,
                 std::optional<assemble::DeviceResources> device, BytesPool& pool);
  ~InstanceRunner() { join(); }

  Status wait_ready();  // made and warmed up, or why not; once
  // After wait_ready(): the GPU whose memory its batches may bring, if it enqueues there.
  const std::optional<device::Place>& takes_inputs_on() const { return takes_inputs_on_; }
  Status healthy();
  void ask_healthy(backend::Instance::Health done);
  void cancel_running();  // tells the requests that run now; what the backend makes of it is its own business
  void join();            // the lane must be closed

  // A batch that was borrowed from the lane together with this instance, on the calling
  // thread; then the instance goes back.
  void run_loan(ModelQueue::Taken taken);

 private:
  struct Seat {
    std::unique_ptr<assemble::DevicePipeline> pipeline;
    std::unique_ptr<backend::Instance> instance;  // dies first: it may still use the pipeline's stream
  };

  Result<std::shared_ptr<Seat>> make_seat();
  void run(std::promise<Status> ready);
  void serve(backend::Instance& instance);
  void run_batch(backend::Instance& instance, ModelQueue::Taken taken);

  const std::shared_ptr<Lane> lane_;
  backend::LoadedModel& loaded_;
  const backend::InstanceSlot slot_;
  const std::optional<assemble::DeviceResources> device_;
  BytesPool& pool_;
  Guarded<std::shared_ptr<backend::Instance>> instance_;
  Guarded<std::vector<std::shared_ptr<infer::Cancellation>>> running_;
  backend::Instance* lendable_ = nullptr;         // written before the lane may lend it
  std::vector<std::uint64_t> orders_;             // of the batch that runs
  std::optional<device::Place> takes_inputs_on_;  // written before it is ready
  std::future<Status> ready_;
  std::thread thread_;
};

}  // namespace argosy::engine
