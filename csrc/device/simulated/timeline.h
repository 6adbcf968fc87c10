#pragma once

// Timeline: what the streams of a simulated device still have to do, and when they
// may do it.
//
// A stream's thread runs an operation once it is permitted. At pace `late` only what
// somebody waits for is permitted, with what that depends on: the latest moment the
// ordering allows, so that a missing event shows. At pace `seeded` each call from
// outside lets a random stretch of one stream run, the same for the same seed. At
// pace `free` the threads run as they like.
//
// Thread: any. With one thread calling, `late` and `seeded` repeat exactly: operations
// run one at a time, those of the stream made first before others.

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <random>
#include <thread>
#include <vector>

#include "base/guarded.h"

namespace argosy::device {

enum class Pace : std::uint8_t { late, seeded, free };

// After the first `operations` of a stream.
struct Point {
  std::size_t stream = 0;
  std::uint64_t operations = 0;
};

class Timeline {
 public:
  Timeline(Pace pace, std::uint64_t seed) : pace_(pace), state_(seed) {}
  ~Timeline();

  std::size_t add_stream();
  void finish_stream(std::size_t stream);  // blocks until it has run

  void enqueue(std::size_t stream, std::function<void()> work);
  void enqueue_wait(std::size_t stream, Point after);
  Point now(std::size_t stream);  // behind what is enqueued

  bool reached(Point point);  // asking hurries nothing
  void wait(Point point);

  // A number below `bound` from the timeline's seed.
  std::uint64_t draw(std::uint64_t bound);

 private:
  struct Operation {
    std::function<void()> work;
    std::optional<Point> after;
  };
  struct Lane {
    std::deque<Operation> pending;  // the first may be running
    std::uint64_t enqueued = 0;
    std::uint64_t done = 0;
    std::uint64_t permitted = 0;
    bool closed = false;
  };
  struct State {
    explicit State(std::uint64_t seed) : random(seed) {}
    std::deque<Lane> lanes;  // never moved
    std::mt19937_64 random;
    bool running = false;  // an operation is; at pace `free` it means nothing
    bool stopped = false;
  };
  using Lock = Guarded<State>::Lock;

  static bool due(const State& state, const Lane& lane);
  bool runnable(const State& state, std::size_t stream) const;
  std::optional<std::function<void()>> next(std::size_t stream);  // blocks; nothing: the stream is over
  void run(std::size_t stream);
  void add(std::size_t stream, Operation operation);
  void permit(State& state, Point point);
  void tick(Lock& state);

  const Pace pace_;
  Guarded<State> state_;
  std::condition_variable changed_;
  std::deque<std::jthread> threads_;  // grows under the state's lock
};

}  // namespace argosy::device
