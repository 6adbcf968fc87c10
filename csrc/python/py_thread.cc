#include "python/py_thread.h"

#include <pthread.h>

#include <utility>

namespace argosy::python {

PyThread::PyThread() : thread_([this] { run(); }) {}

void PyThread::post(Task task) {
  {
    auto state = state_.lock();
    if (state->closed) return;
    state->tasks.push_back(std::move(task));
  }
  changed_.notify_one();
}

void PyThread::stop() {
  state_.lock()->closed = true;
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void PyThread::run() {
  pthread_setname_np(pthread_self(), "argosy-python");
  for (;;) {
    std::deque<Task> tasks;
    {
      auto state = state_.lock();
      while (state->tasks.empty() && !state->closed) state.wait(changed_);
      if (state->tasks.empty()) return;
      tasks.swap(state->tasks);
    }
    for (Task& task : tasks) {
      // The task dies inside as well: it may own Python objects.
      with_gil([&](const GilHeld& held) {
        task(held);
        task = nullptr;
      });
    }
  }
}

}  // namespace argosy::python
