#pragma once

// InstanceRunner: one instance of a model and its thread: take, execute, reply, until
// the lane is closed and drained.
//
// The thread makes the instance, warms it up, and destroys it, so that all instances
// of a model start beside each other and a backend sees one thread per instance.
//
// Thread: the owner's for start and join; any for healthy() and cancel_running().

#include <future>
#include <memory>
#include <thread>
#include <vector>

#include "backend/backend.h"
#include "base/bytes_pool.h"
#include "base/guarded.h"
#include "engine/lane.h"

namespace argosy::engine {

class InstanceRunner {
 public:
  // `loaded` and `pool` outlive this.
  InstanceRunner(std::shared_ptr<Lane> lane, backend::LoadedModel& loaded, backend::InstanceSlot slot, BytesPool& pool);
  ~InstanceRunner() { join(); }

  Status wait_ready();  // made and warmed up, or why not; once
  Status healthy();
  void ask_healthy(backend::Instance::Health done);
  void cancel_running();  // tells the requests that run now; what the backend makes of it is its own business
  void join();            // the lane must be closed

 private:
  void run(std::promise<Status> ready);
  void run_batch(backend::Instance& instance, ModelQueue::Taken taken);

  const std::shared_ptr<Lane> lane_;
  backend::LoadedModel& loaded_;
  const backend::InstanceSlot slot_;
  BytesPool& pool_;
  Guarded<std::shared_ptr<backend::Instance>> instance_;
  Guarded<std::vector<std::shared_ptr<infer::Cancellation>>> running_;
  std::vector<std::uint64_t> orders_;  // of the batch that runs; the runner's thread
  std::future<Status> ready_;
  std::thread thread_;
};

}  // namespace argosy::engine
