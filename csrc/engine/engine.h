#pragma once

// Engine: the facade of the core. Loads and unloads models, finds them, and takes
// requests; every request it is given is answered exactly once, through its Reply.
//
// What it does not do: read configuration or watch a repository (Python says load or
// unload), or know a protocol.
//
// Thread: any. load() and unload() block while a model loads or is unpublished; the
// request path never waits for them.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backend/registry.h"
#include "base/bytes_pool.h"
#include "base/status.h"
#include "base/time.h"
#include "device/open_devices.h"
#include "engine/model_metrics.h"
#include "engine/owed_wakes.h"
#include "engine/statistics.h"
#include "infer/request.h"
#include "metrics/registry.h"
#include "model/spec.h"

namespace argosy::engine {

class Model;
using ModelHandle = std::shared_ptr<Model>;  // keeps a version serving until let go

struct EngineOptions {
  std::size_t max_queued_bytes = std::size_t{1} << 30;  // payload bytes in all queues together
  std::uint32_t cpu_threads = 1;                        // the thread budget divided over instances
  device::OpenDevices devices;                          // GPUs that instances may use
  BytesPool* pool = nullptr;  // where batches are gathered, outlives the engine; null: default_pool()
  ModelMetricsOptions metrics;
};

struct ModelState {
  std::string name;
  std::int64_t version = 0;
  Status health;  // not ok: loaded, but an instance says it cannot serve
};

struct LoadFailure {
  std::int64_t version = 0;
  Status why;
};

class Engine {
 public:
  Engine(EngineOptions options, std::shared_ptr<backend::Registry> backends, std::shared_ptr<metrics::Registry> metrics,
         const Clock& clock);
  ~Engine();  // stop(now)

  // Loads all `versions` of one model, warms them up, then publishes them in one step
  // in place of what served under that name; the old ones drain beside them. On a
  // failure nothing changes: "version 1 is at UNAVAILABLE state: <reason>;". `failures`,
  // where given, gets the reasons by version.
  Status load(const std::string& name, std::vector<model::ModelSpec> versions,
              std::vector<LoadFailure>* failures = nullptr);

  // Takes the model out of sight at once; queued and running requests finish. ok if
  // nothing of that name was loaded. Returns before the drain ends.
  Status unload(const std::string& name);

  // Whether a withdrawn version of this model still answers what it had accepted.
  bool draining(std::string_view name) const;

  // The newest version when `version` is -1. Messages are the protocol's:
  // "Request for unknown model: 'm' is not found", "... version 9 is not found".
  Result<ModelHandle> find(std::string_view name, std::int64_t version = -1) const;

  // Checks the request against the model, applies deadline and bounds, queues it.
  // Never blocks; a refusal is answered through the reply, on this thread.
  // With `owed`, an instance that sleeps goes on sleeping until the caller pays them.
  void submit(const ModelHandle& model, infer::RequestPtr request, OwedWakes* owed = nullptr);
  // The same for a thread with time: where a batch takes less than waking an instance
  // would, it is run here.
  void submit_or_run(const ModelHandle& model, infer::RequestPtr request);

  std::vector<ModelState> list() const;

  // Of one model, or of all when `name` is empty; version -1: every loaded one.
  Result<std::vector<ModelStatistics>> statistics(std::string_view name, std::int64_t version = -1) const;

  std::size_t in_flight() const;  // requests accepted and not answered

  // Refuses new work ("unavailable"), lets accepted requests finish until `deadline`,
  // then cancels what is left and joins every thread. Returns whether all finished in
  // time. Idempotent.
  bool stop(TimePoint deadline);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

// What a handle tells about its model.
const model::ModelSpec& spec_of(const ModelHandle& model);
Status health_of(const ModelHandle& model);
// Where a large request for it is best received; it may have no room. Null: anywhere.
// Lives as long as the handle.
BytesPool* receive_pool(const ModelHandle& model);
// The GPU in whose memory inputs may lie as they are, because every instance of the model
// enqueues its work there; nothing: inputs must lie in host memory.
std::optional<device::Place> takes_inputs_on(const ModelHandle& model);
// The same, the model's own opinion included: `done` is called once, on any thread,
// perhaps before this returns. Does not block.
void ask_health(const ModelHandle& model, std::function<void(Status)> done);

}  // namespace argosy::engine
