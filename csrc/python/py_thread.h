#pragma once

// PyThread: the one native thread on which control work runs. Tasks are given the
// interpreter lock; whoever posts one (an I/O thread) never takes it.
//
// Thread: post() any; stop() from a thread that does not hold the interpreter lock.

#include <condition_variable>
#include <deque>
#include <functional>
#include <thread>

#include "base/guarded.h"
#include "python/gil.h"

namespace argosy::python {

class PyThread {
 public:
  using Task = std::function<void(const GilHeld&)>;

  PyThread();
  ~PyThread() { stop(); }

  void post(Task task);  // after stop(): dropped
  void stop();           // runs what was posted before it, then joins; idempotent

 private:
  struct State {
    std::deque<Task> tasks;
    bool closed = false;
  };
  void run();

  Guarded<State> state_;
  std::condition_variable changed_;
  std::thread thread_;
};

}  // namespace argosy::python
