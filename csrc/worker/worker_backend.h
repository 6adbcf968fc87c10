#pragma once

// WorkerBackend: Python models, each instance in a process of its own.
//
// An instance keeps its process alive: a keeper thread starts it, watches it, and starts
// it again when it dies, later each time; after too many deaths in a row the circuit is
// open and the model says why it is not ready. A batch that comes while the process is
// being started waits for it, within its requests' deadlines.
//
// Inputs lie in one arena that all workers of the model see, also those that come after a
// death, and large requests are received into it. One worker can write over another's
// inputs then, as it could in one process; it sees those of no other model.
//
// Model parameters (config.pbtxt `parameters`): "python", "EXECUTION_ENV_PATH" (a
// directory, or an interpreter's prefix), "execute-timeout-seconds",
// "finalize-timeout-seconds".
//
// Thread: as Backend says.

#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "worker/custom_metrics.h"
#include "worker/door.h"
#include "worker/restart.h"

namespace argosy::worker {

struct WorkerOptions {
  std::string python;                              // the interpreter of models that name none
  std::string package;                             // the directory of the Python package `argosy`
  std::string extensions;                          // where its extension modules lie; empty: there too
  std::vector<std::string> environment;            // "NAME=value" of the server
  std::size_t arena_bytes = std::size_t{4} << 30;  // shared memory for each worker and direction; used only as needed
  RestartRules restart;
  std::shared_ptr<Door> door;              // null: models cannot call models
  std::shared_ptr<CustomMetrics> metrics;  // null: models have no metrics of their own
};

std::shared_ptr<backend::Backend> make_worker_backend(WorkerOptions options);

// From `deadline` on no worker is started, and those that live are killed: what the
// server does when its own time is up. Any thread.
class StopsAt {
 public:
  virtual ~StopsAt() = default;
  virtual void stop_at(TimePoint deadline) = 0;
};
StopsAt& stops_of(backend::Backend& made_by_make_worker_backend);

}  // namespace argosy::worker
