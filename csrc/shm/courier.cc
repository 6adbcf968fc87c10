#include "shm/courier.h"

#include <utility>

namespace argosy::shm {

Courier::~Courier() { stop(); }

void Courier::post(std::unique_ptr<Job> job) {
  {
    auto state = state_.lock();
    if (!state->stopped) {
      state->jobs.push_back(std::move(job));
      if (!state->thread.joinable()) state->thread = std::jthread([this] { work(); });
      changed_.notify_one();
      return;
    }
  }
  DeviceCopies copies;
  job->run(copies);
}

void Courier::work() {
  DeviceCopies copies;
  for (;;) {
    std::unique_ptr<Job> job;
    {
      auto state = state_.lock();
      while (state->jobs.empty() && !state->stopped) state.wait(changed_);
      if (state->jobs.empty()) return;
      job = std::move(state->jobs.front());
      state->jobs.pop_front();
    }
    job->run(copies);
  }
}

void Courier::stop() {
  std::jthread ended;  // joined behind the lock
  auto state = state_.lock();
  state->stopped = true;
  ended = std::move(state->thread);
  changed_.notify_all();
}

}  // namespace argosy::shm
