#include "engine/expiry.h"

#include <algorithm>

#include "engine/thread_name.h"

namespace argosy::engine {

Expiry::Expiry(const Clock& clock) : clock_(clock) {
  thread_ = std::thread([this] {
    name_this_thread("argosy-expiry");
    run();
  });
}

void Expiry::watch(std::weak_ptr<Expirable> queue) {
  auto state = state_.lock();
  std::erase_if(state->watched, [](const auto& known) { return known.expired(); });
  state->watched.push_back(std::move(queue));
}

void Expiry::arm(TimePoint deadline) {
  {
    auto state = state_.lock();
    if (deadline >= state->earliest) return;
    state->earliest = deadline;
  }
  changed_.notify_one();
}

void Expiry::stop() {
  {
    auto state = state_.lock();
    if (state->stopping) return;
    state->stopping = true;
  }
  changed_.notify_one();
  thread_.join();
}

void Expiry::run() {
  std::vector<std::shared_ptr<Expirable>> queues;
  for (;;) {
    armed_for_.store(TimePoint::max().time_since_epoch().count(), std::memory_order_release);
    {
      auto state = state_.lock();
      state->earliest = TimePoint::max();
      for (const auto& watched : state->watched) {
        if (auto live = watched.lock()) queues.push_back(std::move(live));
      }
    }
    TimePoint next = TimePoint::max();
    for (const auto& queue : queues) next = std::min(next, queue->answer_expired(clock_.now()));
    queues.clear();

    auto state = state_.lock();
    armed_for_.store(next.time_since_epoch().count(), std::memory_order_release);
    while (!state->stopping && state->earliest >= next && clock_.now() < next) {
      if (next == TimePoint::max()) {
        state.wait(changed_);
      } else {
        state.wait_until(changed_, next);
      }
    }
    if (state->stopping) return;
  }
}

}  // namespace argosy::engine
