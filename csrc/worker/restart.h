#pragma once

// RestartPolicy: how long to wait before a worker that died is started again, and when
// to stop trying.
//
// The wait doubles with every death in a row. A worker that lived for `settled` ends the
// row. After `most` deaths in a row the circuit is open: it is tried again only every
// `open_for`, so that a model whose cause went away comes back by itself.
//
// Thread: one at a time. Pure: the caller says what time it is.

#include <algorithm>
#include <cstdint>
#include <optional>

#include "base/time.h"

namespace argosy::worker {

struct RestartRules {
  Nanos first = std::chrono::milliseconds(50);
  Nanos longest = std::chrono::seconds(5);
  Nanos settled = std::chrono::seconds(10);
  Nanos open_for = std::chrono::seconds(30);
  std::uint32_t most = 5;
};

class RestartPolicy {
 public:
  explicit RestartPolicy(RestartRules rules = {}) : rules_(rules) {}

  void became_ready(TimePoint now) { ready_since_ = now; }

  // A death at `now`: when to start again.
  TimePoint died(TimePoint now) {
    if (ready_since_ && now - *ready_since_ >= rules_.settled) in_a_row_ = 0;
    ready_since_.reset();
    ++in_a_row_;
    if (open()) return now + rules_.open_for;
    Nanos wait = rules_.first;
    for (std::uint32_t i = 1; i < in_a_row_; ++i) wait = std::min(wait * 2, rules_.longest);
    return now + wait;
  }

  bool open() const { return in_a_row_ >= rules_.most; }
  std::uint32_t in_a_row() const { return in_a_row_; }

 private:
  const RestartRules rules_;
  std::optional<TimePoint> ready_since_;
  std::uint32_t in_a_row_ = 0;
};

}  // namespace argosy::worker
