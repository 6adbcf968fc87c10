#include "engine/engine.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <optional>

#include "base/log.h"
#include "engine/expiry.h"
#include "engine/loader.h"
#include "engine/model.h"
#include "engine/model_table.h"
#include "engine/pool_metrics.h"
#include "engine/queued_bytes.h"
#include "engine/reaper.h"

namespace argosy::engine {
namespace {

Status stopping_status() {
  return unavailable("Server is stopping, scheduler for model has stopped accepting new inference requests");
}

class EngineSource final : public metrics::Source {
 public:
  EngineSource(std::shared_ptr<const ModelTable> table, ModelMetricsOptions options)
      : table_(std::move(table)), options_(options) {}

  void collect(metrics::Page& page) const override {
    add_model_families(page, options_);
    const auto models = table_->read();
    for (const auto& [name, versions] : *models) {
      for (const auto& [version, model] : versions) collect_model(page, *model, options_);
    }
  }

 private:
  const std::shared_ptr<const ModelTable> table_;
  const ModelMetricsOptions options_;
};

// Every model that is held by anybody, published or not: what stop() has to reach.
class Living {
 public:
  void add(const ModelHandle& model) {
    auto models = models_.lock();
    std::erase_if(*models, [](const auto& known) { return known.expired(); });
    models->push_back(model);
  }
  std::vector<ModelHandle> handles() const {
    std::vector<ModelHandle> held;
    auto models = models_.lock();
    for (const auto& model : *models) {
      if (auto handle = model.lock()) held.push_back(std::move(handle));
    }
    return held;
  }

 private:
  mutable Guarded<std::vector<std::weak_ptr<Model>>> models_;
};

}  // namespace

struct Engine::Parts {
  Parts(EngineOptions options, std::shared_ptr<backend::Registry> backends, std::shared_ptr<metrics::Registry> registry,
        const Clock& clock)
      : queued_bytes(std::make_shared<QueuedBytes>(options.max_queued_bytes)),
        expiry(std::make_shared<Expiry>(clock)),
        reaper(std::make_shared<Reaper>()),
        loader({options.cpu_threads, options.devices}, std::move(backends), clock,
               options.pool ? *options.pool : default_pool(), queued_bytes, expiry),
        source(std::make_shared<EngineSource>(table, options.metrics)),
        pools(options.devices.devices.empty() ? nullptr : std::make_shared<PoolMetrics>(options.devices)),
        metrics(std::move(registry)) {
    if (metrics) metrics->add(source);
    if (metrics && pools) metrics->add(pools);
  }

  // The last holder of a model, on whatever thread, only hands it over.
  ModelHandle handle_of(std::unique_ptr<Model> model) {
    return {model.release(), [reaper = reaper](Model* last) { reaper->retire(std::unique_ptr<Model>(last)); }};
  }

  const std::shared_ptr<QueuedBytes> queued_bytes;
  const std::shared_ptr<Expiry> expiry;
  const std::shared_ptr<Reaper> reaper;
  Loader loader;
  const std::shared_ptr<ModelTable> table = std::make_shared<ModelTable>();
  Living living;
  const std::shared_ptr<EngineSource> source;
  const std::shared_ptr<PoolMetrics> pools;
  const std::shared_ptr<metrics::Registry> metrics;
  // Set under `stopped`'s lock before the models are closed; a load looks again before it publishes.
  std::atomic<bool> stopping{false};
  Guarded<std::optional<bool>> stopped;  // what the first stop() returned
  Guarded<bool> publishing{false};       // stop() and publication exclude each other
};

Engine::Engine(EngineOptions options, std::shared_ptr<backend::Registry> backends,
               std::shared_ptr<metrics::Registry> metrics, const Clock& clock)
    : parts_(std::make_unique<Parts>(std::move(options), std::move(backends), std::move(metrics), clock)) {}

Engine::~Engine() { stop(TimePoint::min()); }

Status Engine::load(const std::string& name, std::vector<model::ModelSpec> versions, std::vector<LoadFailure>* failed) {
  if (parts_->stopping) return stopping_status();
  std::string failures;
  std::vector<std::unique_ptr<Model>> loaded;
  for (auto& spec : versions) {
    const std::int64_t version = spec.version;
    auto model = parts_->loader.load(std::move(spec));
    if (model.ok()) {
      loaded.push_back(std::move(*model));
      continue;
    }
    if (failed != nullptr) failed->push_back({version, model.status()});
    const std::string message = model.status().message();
    log(LogLevel::error, "failed to load '" + name + "' version " + std::to_string(version) + ": " + message, {name});
    failures += (failures.empty() ? "version " : "\nversion ") + std::to_string(version) +
                " is at UNAVAILABLE state: " + message + ";";
  }
  if (!failures.empty()) return invalid_argument(std::move(failures));

  ModelTable::Versions published;
  for (auto& model : loaded) {
    const std::int64_t version = model->lane().spec().version;
    log(LogLevel::info, "successfully loaded '" + name + "' version " + std::to_string(version), {name});
    published[version] = parts_->handle_of(std::move(model));
  }
  auto publishing = parts_->publishing.lock();
  if (parts_->stopping) return stopping_status();
  for (const auto& [version, model] : published) parts_->living.add(model);
  parts_->table->publish(name, std::move(published));
  return {};
}

Status Engine::unload(const std::string& name) {
  parts_->table->publish(name, {});
  log(LogLevel::info, "unloading '" + name + "'", {name});
  return {};
}

bool Engine::draining(std::string_view name) const {
  if (parts_->reaper->holds(name)) return true;
  // Withdrawn, but a request on its way still holds it.
  const auto models = parts_->table->read();
  const auto published = models->find(name);
  for (const auto& model : parts_->living.handles()) {
    if (model->lane().spec().name != name) continue;
    const bool serves = published != models->end() &&
                        std::ranges::any_of(published->second, [&](const auto& one) { return one.second == model; });
    if (!serves) return true;
  }
  return false;
}

Result<ModelHandle> Engine::find(std::string_view name, std::int64_t version) const {
  return parts_->table->find(name, version);
}

void Engine::submit(const ModelHandle& model, infer::RequestPtr request, OwedWakes* owed) {
  model->lane().submit(std::move(request), owed);
}

void Engine::submit_or_run(const ModelHandle& model, infer::RequestPtr request) {
  model->submit_or_run(std::move(request));
}

std::vector<ModelState> Engine::list() const {
  std::vector<ModelState> states;
  const auto models = parts_->table->read();
  for (const auto& [name, versions] : *models) {
    for (const auto& [version, model] : versions) states.push_back({name, version, model->health()});
  }
  return states;
}

Result<std::vector<ModelStatistics>> Engine::statistics(std::string_view name, std::int64_t version) const {
  std::vector<ModelStatistics> all;
  const auto models = parts_->table->read();
  const auto add = [&](Model& model) {
    ModelStatistics one = model.lane().accounting().statistics();
    one.name = model.lane().spec().name;
    one.version = model.lane().spec().version;
    all.push_back(std::move(one));
  };
  if (name.empty()) {
    for (const auto& [known, versions] : *models) {
      for (const auto& [number, model] : versions) add(*model);
    }
    return all;
  }
  const auto model = models->find(name);
  if (model == models->end() || model->second.empty()) {
    return invalid_argument("requested model '" + std::string(name) + "' is not available");
  }
  if (version == -1) {
    for (const auto& [number, held] : model->second) add(*held);
    return all;
  }
  const auto found = model->second.find(version);
  if (found == model->second.end()) {
    return invalid_argument("requested model version is not available for model '" + std::string(name) + "'");
  }
  add(*found->second);
  return all;
}

std::size_t Engine::in_flight() const {
  std::size_t total = parts_->reaper->in_flight();
  for (const auto& model : parts_->living.handles()) total += model->lane().gate().inside();
  return total;
}

bool Engine::stop(TimePoint deadline) {
  auto stopped = parts_->stopped.lock();
  if (*stopped) return **stopped;
  {
    auto publishing = parts_->publishing.lock();
    parts_->stopping = true;
  }
  const Status why = stopping_status();
  auto living = parts_->living.handles();
  // Only the gates close first: what is queued goes on being batched as ever.
  for (const auto& model : living) model->lane().refuse_new(why);
  bool finished = parts_->reaper->wait_idle(deadline);
  for (const auto& model : living) finished = model->lane().gate().wait_empty(deadline) && finished;
  for (const auto& model : living) model->close(why);
  if (!finished) {
    for (const auto& model : living) model->abandon(why);
    parts_->reaper->abandon(why);
  }
  for (const auto& model : living) model->shut_down();
  living.clear();
  parts_->reaper->stop();
  parts_->expiry->stop();
  *stopped = finished;
  return finished;
}

const model::ModelSpec& spec_of(const ModelHandle& model) { return model->lane().spec(); }
Status health_of(const ModelHandle& model) { return model->health(); }
BytesPool* receive_pool(const ModelHandle& model) { return model->receive_pool(); }
std::optional<device::Place> takes_inputs_on(const ModelHandle& model) { return model->takes_inputs_on(); }

void ask_health(const ModelHandle& model, std::function<void(Status)> done) { model->ask_health(std::move(done)); }

}  // namespace argosy::engine
