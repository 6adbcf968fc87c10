#pragma once

// Runtime: the objects of one server that native code shares: clock, metrics,
// backends, engine, and the thread on which Python control work runs.
//
// stop() ends the engine before the Python thread, because a backend's last calls
// need the interpreter.
//
// Thread: any. stop() without the interpreter lock.

#include <memory>
#include <optional>
#include <string>

#include "backend/registry.h"
#include "base/bytes_pool.h"
#include "base/time.h"
#include "device/open_devices.h"
#include "device/pinned_bytes_pool.h"
#include "engine/engine.h"
#include "metrics/registry.h"
#include "python/log_bridge.h"
#include "python/py_thread.h"
#include "python/worker_door.h"

namespace argosy::python {

struct Runtime {
  // `options.devices` are the server's.
  explicit Runtime(engine::EngineOptions options);
  ~Runtime();

  // Model processes that are still busy then, loading included, are ended, and none is started again.
  void end_workers(Nanos patience);
  bool stop(Nanos patience);
  std::string metrics_text() const;
  // Where network bytes land: pinned memory where there are devices that read it.
  BytesPool& receive_pool();

  SteadyClock clock;
  const device::OpenDevices devices;
  std::optional<device::PinnedBytesPool> pinned;  // only with devices
  std::shared_ptr<metrics::Registry> metrics;
  std::shared_ptr<const metrics::Source> process;  // memory, CPU and threads of this process
  std::shared_ptr<backend::Registry> backends;
  engine::Engine engine;
  PyThread python;
  LogBridge log_bridge{python};
  std::shared_ptr<WorkerDoor> door;                      // what models in worker processes may ask for
  std::shared_ptr<worker::CustomMetrics> model_metrics;  // those that models make themselves
  std::shared_ptr<backend::Backend> worker_models;       // the backend "python"
};

}  // namespace argosy::python
