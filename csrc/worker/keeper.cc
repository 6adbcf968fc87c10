#include "worker/keeper.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace argosy::worker {
namespace {

TimePoint now() { return SteadyClock().now(); }

}  // namespace

Keeper::Keeper(std::string instance, std::string model, RestartRules rules, Start start)
    : instance_(std::move(instance)), model_(std::move(model)), rules_(rules), start_(std::move(start)) {
  thread_ = std::thread([this] { run(); });
}

void Keeper::run() {
  RestartPolicy policy(rules_);
  for (bool first = true;; first = false) {
    const Status end = live(policy, first);
    TimePoint again;
    {
      auto state = state_.lock();
      state->worker.reset();
      state->ready = false;
      state->last_end = end;
      if (!state->first) {
        state->first = end;
        state->stopping = true;
      }
      again = policy.died(now());
      state->open = policy.open();
      changed_.notify_all();
      if (state->stopping) return;
    }
    const auto wait = std::chrono::duration_cast<std::chrono::milliseconds>(again - now()).count();
    log(LogLevel::error,
        end.message() +
            (policy.open() ? "\n" + std::to_string(policy.in_a_row()) +
                                 " deaths in a row: the model is not ready; tried again in "
                           : "\nstarted again in ") +
            std::to_string(std::max<std::int64_t>(wait, 0)) + " ms",
        {model_});
    auto state = state_.lock();
    while (!state->stopping && now() < again) state.wait_until(changed_, again);
    if (state->stopping) return;
  }
}

Status Keeper::live(RestartPolicy& policy, bool first) {
  auto started = start_();
  if (!started.ok()) return started.status();
  const std::shared_ptr<Worker> worker = *started;
  {
    auto state = state_.lock();
    if (state->stopping) {
      worker->kill("the server is stopping");
    }
    state->worker = worker;
  }
  return worker->serve([&] {
    policy.became_ready(now());
    auto state = state_.lock();
    state->ready = true;
    state->open = false;
    if (!state->first) state->first = Status();
    changed_.notify_all();
    if (!first) log(LogLevel::info, "model instance '" + instance_ + "' is ready again", {model_});
  });
}

Status Keeper::wait_first() {
  auto state = state_.lock();
  while (!state->first) state.wait(changed_);
  return *state->first;
}

Result<std::shared_ptr<Worker>> Keeper::wait_worker(TimePoint until) {
  auto state = state_.lock();
  while (!(state->ready && state->worker && !state->worker->dead())) {
    if (state->stopping || state->open || now() >= until) {
      if (!state->last_end.ok()) return unavailable(state->last_end.message());
      return unavailable("model instance '" + instance_ + "' is being started");
    }
    // In slices: a worker that died tells the keeper first, and then this.
    state.wait_until(changed_, std::min(until, now() + std::chrono::milliseconds(100)));
  }
  return state->worker;
}

Status Keeper::healthy() {
  auto state = state_.lock();
  if (state->ready && state->worker && !state->worker->dead()) return {};
  if (!state->last_end.ok()) return unavailable(state->last_end.message());
  return unavailable("model instance '" + instance_ + "' is being started");
}

void Keeper::ask_healthy(std::function<void(Status)> done) {
  if (Status status = healthy(); !status.ok()) return done(status);
  std::shared_ptr<Worker> worker;
  {
    auto state = state_.lock();
    worker = state->worker;
  }
  if (!worker) return done(healthy());
  worker->ask_ready(std::move(done));
}

void Keeper::stop() {
  std::shared_ptr<Worker> worker;
  {
    auto state = state_.lock();
    state->stopping = true;
    worker = state->worker;
    changed_.notify_all();
  }
  if (worker) worker->finalize();
  if (thread_.joinable()) thread_.join();
}

void Keeper::stop_at(TimePoint deadline) {
  std::shared_ptr<Worker> worker;
  {
    auto state = state_.lock();
    state->stopping = true;
    worker = state->worker;
    changed_.notify_all();
  }
  if (worker) worker->stop_at(deadline);
}

}  // namespace argosy::worker
