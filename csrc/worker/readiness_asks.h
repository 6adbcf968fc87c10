#pragma once

// ReadinessAsks: the questions whether the model in one process is ready by its own
// word, each answered in bounded time: with what it says, or with why it said nothing.
//
// Thread: any; due(), expire() and close() the keeper's. Answers are given without a lock held.

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/guarded.h"
#include "base/time.h"
#include "worker/channel.h"

namespace argosy::worker {

class ReadinessAsks {
 public:
  using Done = std::function<void(Status)>;

  ReadinessAsks(std::shared_ptr<Channel> channel, std::string instance, Nanos limit)
      : channel_(std::move(channel)), instance_(std::move(instance)), limit_(limit) {}

  void ask(Done done, TimePoint now);
  void answered(std::uint64_t id, bool ready);  // unknown ids: it came too late
  TimePoint due() const;                        // when expire() has something to do
  void expire(TimePoint now);
  void close(const Status& why);  // the process is dead

 private:
  struct Ask {
    Done done;
    TimePoint until;
  };
  struct State {
    std::uint64_t last = 0;
    std::map<std::uint64_t, Ask> asks;  // in order of their times as well
    Status closed;
  };

  const std::shared_ptr<Channel> channel_;
  const std::string instance_;
  const Nanos limit_;
  mutable Guarded<State> state_;
};

}  // namespace argosy::worker
