#include "engine/reaper.h"

#include <algorithm>

#include "engine/thread_name.h"

namespace argosy::engine {

Reaper::Reaper() {
  thread_ = std::thread([this] {
    name_this_thread("argosy-reaper");
    run();
  });
}

Reaper::~Reaper() { stop(); }

void Reaper::retire(std::unique_ptr<Model> model) {
  const std::string& name = model->lane().spec().name;
  model->close(unavailable("model '" + name + "' is unloading"));
  {
    auto state = state_.lock();
    if (!state->stopping) {
      state->retired.push_back(std::move(model));
      changed_.notify_all();
      return;
    }
  }
  model.reset();
}

bool Reaper::wait_idle(TimePoint deadline) {
  auto state = state_.lock();
  while (!state->retired.empty()) {
    if (SteadyClock().now() >= deadline) return false;
    state.wait_until(changed_, deadline);
  }
  return true;
}

void Reaper::abandon(const Status& why) {
  std::vector<std::shared_ptr<Model>> retired;
  {
    auto state = state_.lock();
    retired = state->retired;
  }
  for (const auto& model : retired) model->abandon(why);
}

void Reaper::stop() {
  {
    auto state = state_.lock();
    state->stopping = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

std::size_t Reaper::in_flight() {
  auto state = state_.lock();
  std::size_t total = 0;
  for (const auto& model : state->retired) total += model->lane().gate().inside();
  return total;
}

void Reaper::run() {
  for (;;) {
    std::shared_ptr<Model> model;
    {
      auto state = state_.lock();
      while (state->retired.empty() && !state->stopping) state.wait(changed_);
      if (state->retired.empty()) return;
      model = state->retired.front();
    }
    model->shut_down();
    {
      auto state = state_.lock();
      std::erase(state->retired, model);
    }
    changed_.notify_all();
  }
}

bool Reaper::holds(std::string_view name) {
  auto state = state_.lock();
  return std::ranges::any_of(state->retired, [&](const auto& model) { return model->lane().spec().name == name; });
}

}  // namespace argosy::engine
