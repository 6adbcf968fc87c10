#include "python/runtime.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "backend/identity/identity.h"
#include "metrics/process.h"
#include "metrics/prometheus.h"

namespace argosy::python {

Runtime::Runtime(engine::EngineOptions options)
    : devices(options.devices),
      metrics(std::make_shared<metrics::Registry>()),
      process(std::make_shared<metrics::ProcessSource>()),
      backends(std::make_shared<backend::Registry>()),
      engine(std::move(options), backends, metrics, clock),
      door(std::make_shared<WorkerDoor>(engine, python)),
      model_metrics(std::make_shared<worker::CustomMetrics>(
          // Asked when a model makes a family, which is rare: a page is made to see who else is on it.
          [page = std::weak_ptr<metrics::Registry>(metrics)](const std::string& name) {
            const auto live = page.lock();
            return live && live->collect().blocks().contains(name);
          })),
      worker_models(worker::make_worker_backend(worker_options(door, model_metrics))) {
  if (devices.received) pinned.emplace(devices.received, default_pool());
  Status added = backends->add("identity", backend::make_identity_backend());
  if (added.ok()) added = backends->add("python", worker_models);
  assert(added.ok());
  (void)added;
  metrics->add(process);
  metrics->add(model_metrics);
}

Runtime::~Runtime() {
  // Reached from Python's deallocation: joining threads that need the lock would hang.
  pybind11::gil_scoped_release release;
  stop(Nanos(0));
}

void Runtime::end_workers(Nanos patience) {
  // One that is idle gets its moment to finalize also when there is no patience.
  constexpr Nanos kFinalize = std::chrono::seconds(2);
  worker::stops_of(*worker_models).stop_at(clock.now() + std::max(patience, kFinalize));
}

bool Runtime::stop(Nanos patience) {
  end_workers(patience);  // a model that hangs would hold the engine's threads
  const bool finished = engine.stop(clock.now() + patience);
  log_bridge.close();
  python.stop();
  return finished;
}

BytesPool& Runtime::receive_pool() {
  if (pinned) return *pinned;
  return default_pool();
}

std::string Runtime::metrics_text() const { return metrics::prometheus_text(metrics->collect()); }

}  // namespace argosy::python
