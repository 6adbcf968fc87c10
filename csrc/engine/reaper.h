#pragma once

// Reaper: one thread that takes apart models nobody holds any more: waits for what they
// still run, joins their threads, frees their memory. So the last one to let go of a
// model, whichever thread that is, waits for nothing.
//
// Thread: any for retire().

#include <condition_variable>
#include <memory>
#include <string_view>
#include <thread>
#include <vector>

#include "base/guarded.h"
#include "base/status.h"
#include "base/time.h"
#include "engine/model.h"

namespace argosy::engine {

class Reaper {
 public:
  Reaper();
  ~Reaper();  // after stop()

  // Closes the model and drains it on the reaper's thread; after stop(), here.
  void retire(std::unique_ptr<Model> model);

  // Waits until all that was retired is gone; false: not by `deadline`.
  bool wait_idle(TimePoint deadline);
  // Answers what the retired models still hold with `why`.
  void abandon(const Status& why);
  void stop();  // takes the rest apart and joins; idempotent

  std::size_t in_flight();            // requests the retired models still owe
  bool holds(std::string_view name);  // a retired version of this model is not gone yet

 private:
  struct State {
    std::vector<std::shared_ptr<Model>> retired;  // shared with whoever looks; the front one is being joined
    bool stopping = false;
  };
  void run();

  Guarded<State> state_;
  std::condition_variable changed_;
  std::thread thread_;
};

}  // namespace argosy::engine
