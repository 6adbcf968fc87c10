#pragma once

// Courier: one thread that carries bytes between the host and GPUs for requests whose
// model runs elsewhere, so that neither an event loop nor an instance waits for a copy.
//
// Jobs run in the order in which they were given. The thread starts with the first.
//
// Thread: any; stop() not from a job.

#include <condition_variable>
#include <deque>
#include <memory>
#include <thread>

#include "base/guarded.h"
#include "shm/device_copy.h"

namespace argosy::shm {

class Courier {
 public:
  class Job {
   public:
    virtual ~Job() = default;
    virtual void run(DeviceCopies& copies) = 0;
  };

  Courier() = default;
  ~Courier();
  Courier(const Courier&) = delete;
  Courier& operator=(const Courier&) = delete;

  // After stop() the job runs here, at once: what must be answered is.
  void post(std::unique_ptr<Job> job);

  // Finishes what was given, and ends the thread. Idempotent.
  void stop();

 private:
  struct State {
    std::deque<std::unique_ptr<Job>> jobs;
    std::jthread thread;
    bool stopped = false;
  };
  void work();

  Guarded<State> state_;
  std::condition_variable changed_;
};

}  // namespace argosy::shm
