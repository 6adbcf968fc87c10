#pragma once

// Window: what one sending thread saw in one stretch of time; WindowBoard: where the
// threads hand their windows in and the measuring thread waits for a complete one.
//
// Window 0 is the warm-up. A window counts the answers that arrived in it, whenever
// their requests were sent.
//
// Thread: a Window has one owner; WindowBoard any.

#include <condition_variable>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/guarded.h"
#include "load/histogram.h"

namespace argosy::load {

struct Window {
  Histogram latency;                            // of good answers
  std::map<std::string, std::uint64_t> errors;  // by status text
  std::uint64_t failed = 0;

  void add_error(const std::string& text, std::uint64_t times = 1);
  void merge(const Window& other);
};

class WindowBoard {
 public:
  explicit WindowBoard(std::size_t threads) : threads_(threads) {}

  void hand_in(std::size_t index, const Window& window);
  void finished();  // a thread will hand in no more

  // Waits for every thread's window `index`; none when `give_up` comes first. A thread
  // that has finished is not waited for.
  std::optional<Window> wait_for(std::size_t index, TimePoint give_up);

 private:
  struct State {
    std::vector<Window> windows;
    std::vector<std::size_t> parts;
    std::size_t finished = 0;
  };

  const std::size_t threads_;
  Guarded<State> state_;
  std::condition_variable changed_;
};

}  // namespace argosy::load
