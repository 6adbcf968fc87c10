#pragma once

// Policy: which queued requests run together, and when. The interface of every
// scheduler.
//
// Pure: it owns no thread, lock or clock. The caller says what time it is and
// carries out the decision, so each rule can be tested with plain numbers and
// simulated under virtual time.
//
// Thread: one at a time; engine::ModelQueue keeps it inside a Guarded.

#include <cstddef>
#include <cstdint>
#include <variant>
#include <vector>

#include "base/status.h"
#include "base/time.h"
#include "infer/request.h"

namespace argosy::sched {

struct Pending {
  infer::RequestPtr request;
  std::uint32_t rows = 1;  // checked at admission
  TimePoint arrived;
  std::uint64_t order = 0;  // set by the policy: position in arrival order
};

struct RunBatch {
  std::vector<Pending> items;
};  // never empty
struct WaitUntil {
  TimePoint when;
};                      // ask again then, or after a push
struct WaitForWork {};  // nothing to run: ask again after a push
using Decision = std::variant<RunBatch, WaitUntil, WaitForWork>;

struct Dropped {
  Pending item;
  Status why;  // cancelled, or unavailable "Request timeout expired"
};

class Policy {
 public:
  virtual ~Policy() = default;

  // Takes the item only when ok; otherwise it is left with the caller (queue full).
  virtual Status push(Pending&& item, TimePoint now) = 0;

  // Decides for `instance`, free at `now`. A returned batch has left the queue; it
  // holds no request that is past its deadline or cancelled. `now` of
  // TimePoint::max() means: closing, all is ripe.
  virtual Decision next(std::size_t instance, TimePoint now) = 0;

  // `instance` keeps several batches under way: from now on ended() says when the oldest of
  // them is over. Of any other instance next() says so.
  virtual void pipelines(std::size_t instance) { (void)instance; }
  virtual void ended(std::size_t instance, TimePoint now) { (void)instance, (void)now; }

  // Removes and returns what is past its deadline at `now`, or cancelled. A request
  // whose queue policy says DELAY is kept, behind the others.
  virtual std::vector<Dropped> expired(TimePoint now) = 0;

  // When expired() next has something to do; TimePoint::max(): no deadline queued.
  virtual TimePoint next_deadline() const = 0;

  virtual std::size_t size() const = 0;          // requests queued
  virtual TimePoint oldest_arrival() const = 0;  // max() when empty
};

}  // namespace argosy::sched
