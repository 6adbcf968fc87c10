#pragma once

// Keeper: the thread that keeps one instance's process alive, and the only one that
// starts it: a worker asks the kernel to be killed when the thread that started it ends.
//
// Thread: any; stop() once.

#include <condition_variable>
#include <functional>
#include <memory>
#include <optional>
#include <thread>

#include "base/guarded.h"
#include "worker/restart.h"
#include "worker/worker.h"

namespace argosy::worker {

class Keeper {
 public:
  using Start = std::function<Result<std::shared_ptr<Worker>>()>;

  // Starts at once.
  Keeper(std::string instance, std::string model, RestartRules rules, Start start);
  ~Keeper() { stop(); }

  Status wait_first();  // initialised, or why the first process was not; nothing is restarted then

  // A worker that can be given a batch: now, or when it has been started again, at the
  // latest at `until`. Else why there is none.
  Result<std::shared_ptr<Worker>> wait_worker(TimePoint until);

  Status healthy();
  void ask_healthy(std::function<void(Status)> done);  // the model's own opinion included
  void stop();                                         // lets the process finalize, then joins
  void stop_at(TimePoint deadline);                    // kills it then

 private:
  struct State {
    std::shared_ptr<Worker> worker;  // alive, perhaps not ready
    bool ready = false;
    bool stopping = false;
    bool open = false;  // the circuit
    std::optional<Status> first;
    Status last_end;
  };

  void run();
  Status live(RestartPolicy& policy, bool first);

  const std::string instance_, model_;
  const RestartRules rules_;
  const Start start_;
  Guarded<State> state_;
  std::condition_variable changed_;
  std::thread thread_;
};

}  // namespace argosy::worker
