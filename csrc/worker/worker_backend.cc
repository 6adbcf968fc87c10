#include "worker/worker_backend.h"

#include <algorithm>
#include <utility>

#include "base/bytes_pool.h"
#include "base/guarded.h"
#include "worker/keeper.h"
#include "worker/launch.h"
#include "worker/worker.h"

namespace argosy::worker {
namespace {

constexpr Nanos kRestartPatience = std::chrono::seconds(30);
// Free bytes of an arena that stay for the next tensors, for each instance.
constexpr std::size_t kKept = std::size_t{64} << 20;

// Half of the arena is for requests as they are received: what waits to run, or comes and
// never ends, leaves room for tensors that have to be copied to a worker.
class ReceivePool final : public BytesPool {
 public:
  explicit ReceivePool(std::shared_ptr<Arena> arena) : arena_(std::move(arena)) {}
  Buffer allocate(std::size_t size) override { return arena_->allocate(size, arena_->capacity() / 2); }

 private:
  const std::shared_ptr<Arena> arena_;
};

// Every keeper there is, for the moment when the server's time is up.
class Keepers {
 public:
  void add(const std::shared_ptr<Keeper>& keeper) {
    auto all = all_.lock();
    std::erase_if(all->keepers, [](const auto& one) { return one.expired(); });
    all->keepers.push_back(keeper);
    if (all->deadline) keeper->stop_at(*all->deadline);
  }
  void stop_at(TimePoint deadline) {
    std::vector<std::shared_ptr<Keeper>> living;
    {
      auto all = all_.lock();
      all->deadline = deadline;
      for (const auto& one : all->keepers) {
        if (auto keeper = one.lock()) living.push_back(std::move(keeper));
      }
    }
    for (const auto& keeper : living) keeper->stop_at(deadline);
  }

 private:
  struct All {
    std::vector<std::weak_ptr<Keeper>> keepers;
    std::optional<TimePoint> deadline;
  };
  Guarded<All> all_;
};

class WorkerInstance final : public backend::Instance {
 public:
  explicit WorkerInstance(std::shared_ptr<Keeper> keeper) : keeper_(std::move(keeper)) {}
  ~WorkerInstance() override { keeper_->stop(); }

  backend::Intake intake() const override { return backend::Intake::pieces; }

  Status execute(backend::Batch& batch) override {
    TimePoint until = SteadyClock().now() + kRestartPatience;
    for (const auto& request : batch.requests) until = std::min(until, request->deadline);
    auto worker = keeper_->wait_worker(until);
    if (!worker.ok()) return worker.status();
    return (*worker)->execute(batch);
  }

  Status healthy() const override { return keeper_->healthy(); }
  void ask_healthy(Health done) const override { keeper_->ask_healthy(std::move(done)); }

 private:
  const std::shared_ptr<Keeper> keeper_;
};

class WorkerModel final : public backend::LoadedModel {
 public:
  WorkerModel(model::SpecPtr spec, std::shared_ptr<const WorkerOptions> options, std::shared_ptr<Keepers> keepers,
              std::shared_ptr<Arena> inputs)
      : spec_(std::move(spec)),
        options_(std::move(options)),
        keepers_(std::move(keepers)),
        inputs_(std::move(inputs)),
        receive_pool_(std::make_shared<ReceivePool>(inputs_)) {}

  std::shared_ptr<BytesPool> receive_pool() override { return receive_pool_; }

  Result<std::unique_ptr<backend::Instance>> make_instance(const backend::InstanceSlot& slot) override {
    auto launch = launch_of(*spec_, slot, *options_);
    if (!launch.ok()) return launch.status();
    auto execute_limit = seconds_of(*spec_, "execute-timeout-seconds", Nanos(0));
    if (!execute_limit.ok()) return execute_limit.status();
    auto finalize_limit = seconds_of(*spec_, "finalize-timeout-seconds", std::chrono::seconds(30));
    if (!finalize_limit.ok()) return finalize_limit.status();
    auto ready_limit = seconds_of(*spec_, "ready-timeout-seconds", std::chrono::seconds(5));
    if (!ready_limit.ok()) return ready_limit.status();
    WorkerSettings settings{
        .spec = spec_,
        .instance = slot.name,
        .launch = *std::move(launch),
        .initialize = initialize_of(*spec_, slot),
        .inputs = inputs_,
        .output_bytes = options_->arena_bytes,
        .metrics = options_->metrics ? std::make_shared<InstanceMetrics>(options_->metrics) : nullptr,
        .execute_limit = *execute_limit,
        .finalize_limit = *finalize_limit,
        .ready_limit = *ready_limit};
    auto keeper = std::make_shared<Keeper>(
        slot.name, spec_->name, options_->restart,
        [settings = std::move(settings), options = options_] { return Worker::start(settings, options->door); });
    keepers_->add(keeper);
    if (Status first = keeper->wait_first(); !first.ok()) return first;
    return std::unique_ptr<backend::Instance>(std::make_unique<WorkerInstance>(std::move(keeper)));
  }

 private:
  const model::SpecPtr spec_;
  const std::shared_ptr<const WorkerOptions> options_;
  const std::shared_ptr<Keepers> keepers_;
  const std::shared_ptr<Arena> inputs_;
  const std::shared_ptr<BytesPool> receive_pool_;
};

class WorkerBackend final : public backend::Backend, public StopsAt {
 public:
  explicit WorkerBackend(WorkerOptions options) : options_(std::make_shared<const WorkerOptions>(std::move(options))) {}

  Result<std::unique_ptr<backend::LoadedModel>> load(const model::SpecPtr& spec,
                                                     const backend::InstanceSlot& first) override {
    if (first.kind == model::InstanceKind::gpu) {
      return unsupported("model '" + spec->name +
                         "': tensors of Python models are in host memory; instances of "
                         "KIND_GPU are not served, use KIND_CPU or KIND_MODEL");
    }
    auto inputs = Arena::create("argosy:" + spec->name + ":inputs", options_->arena_bytes * first.instances,
                                kKept * first.instances);
    if (!inputs.ok()) return inputs.status();
    return std::unique_ptr<backend::LoadedModel>(
        std::make_unique<WorkerModel>(spec, options_, keepers_, *std::move(inputs)));
  }

  void stop_at(TimePoint deadline) override { keepers_->stop_at(deadline); }

 private:
  const std::shared_ptr<const WorkerOptions> options_;
  const std::shared_ptr<Keepers> keepers_ = std::make_shared<Keepers>();
};

}  // namespace

std::shared_ptr<backend::Backend> make_worker_backend(WorkerOptions options) {
  return std::make_shared<WorkerBackend>(std::move(options));
}

StopsAt& stops_of(backend::Backend& backend) { return static_cast<WorkerBackend&>(backend); }

}  // namespace argosy::worker
