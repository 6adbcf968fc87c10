#pragma once

// Worker: one life of one model process: started, initialised, given batches, watched,
// ended. A new process is a new Worker, so nothing of a dead one can leak into it.
//
// Whatever way it ends, each request it held is answered: those kept here by the keeper,
// those of the runner's batch by execute(), all with the same reason.
//
// Thread: start() and serve() the keeper's, which must live as long as the process;
// execute() the runner's; the rest any. What the worker asks for is read by whichever of
// the two has the turn.

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "backend/backend.h"
#include "base/time.h"
#include "worker/channel.h"
#include "worker/in_flight.h"
#include "worker/metric_desk.h"
#include "worker/outgoing_calls.h"
#include "worker/process.h"
#include "worker/readiness_asks.h"
#include "worker/turn.h"

namespace argosy::worker {

struct WorkerSettings {
  model::SpecPtr spec;
  std::string instance;                                         // name, for messages and logs
  Launch launch;                                                // its descriptors are filled in here
  std::vector<std::pair<std::string, std::string>> initialize;  // what the process is told first
  std::shared_ptr<Arena> inputs;                                // the model's
  std::size_t output_bytes = 0;                                 // of the worker's own arena
  std::shared_ptr<InstanceMetrics> metrics;                     // over all lives of the instance
  Nanos execute_limit{0};                                       // 0: a batch may take for ever
  Nanos finalize_limit = std::chrono::seconds(30);
  Nanos ready_limit = std::chrono::seconds(5);  // for the model to say whether it is ready
};

class Worker : public std::enable_shared_from_this<Worker> {
 public:
  static Result<std::shared_ptr<Worker>> start(WorkerSettings settings, std::shared_ptr<Door> door);
  ~Worker();

  // Until the process has ended; returns why. `ready` is called once, when the model
  // is initialised.
  Status serve(const std::function<void()>& ready);

  Status execute(backend::Batch& batch);

  // Whether the model itself says that it is ready; at once where it has no say.
  void ask_ready(std::function<void(Status)> done);

  void finalize();                   // let it end by itself, soon
  void kill(std::string why);        // now
  void stop_at(TimePoint deadline);  // killed then, if it still lives

  bool dead() const { return dead_.load(std::memory_order_acquire); }
  int process_id() const { return process_.id(); }

 private:
  Worker(WorkerSettings settings, std::shared_ptr<Channel> channel, std::shared_ptr<Door> door, Process process,
         Descriptor wake);

  static TimePoint now() { return SteadyClock().now(); }
  Status send_initialize();
  void relay(int descriptor, std::string& partial, bool errors);
  void log_line(std::string_view line, bool errors);
  // Who has the turn; ends the process when it speaks nonsense. False: there was nothing, or nonsense.
  bool read_calls(const std::function<void()>& ready);
  Status read_call(const std::string& record, const std::function<void()>& ready);
  Status read_results(const std::string& record, backend::Batch& batch, std::vector<Handle>& handles);
  Status ended();
  class Attention;

  const WorkerSettings settings_;
  const std::shared_ptr<Channel> channel_;
  Turn turn_;
  const std::shared_ptr<OutgoingCalls> calls_;
  MetricDesk metrics_;
  ReadinessAsks readiness_;
  InFlight in_flight_;
  Windows windows_;
  Process process_;
  const Descriptor wake_;
  std::atomic<bool> dead_{false};
  std::atomic<bool> finalizing_{false};
  std::atomic<bool> has_opinion_{false};  // the model wants to be asked whether it is ready
  std::atomic<Nanos::rep> stop_at_;       // since the clock's epoch
  std::atomic<bool> runner_looks_{false};
  bool initialised_ = false;                 // of who has the turn
  bool called_ = false;                      // of who has the turn: another model, since the keeper looked
  std::optional<Status> initialize_failed_;  // of who has the turn
  std::string last_errors_;                  // keeper's: the end of its standard error
  Guarded<std::string> killed_because_;
  Guarded<Status> end_;
};

}  // namespace argosy::worker
