#pragma once

// PriorityQueue: what waits, in which order, and until when: the queue the policies
// stand on. Levels 1 (first) to N, each first come first served with its own limit and
// timeout.
//
// Two deadlines. A client's (request timeout, gRPC deadline) is its word that a later
// answer is worth nothing: the request is dropped. A model's default timeout under
// REJECT means the same; under DELAY the request only goes behind the live ones of its
// level, and stays there until it runs or its client's deadline passes.
// allow_timeout_override is therefore always on, and can only shorten.
//
// What is past its deadline or cancelled is never seen by a walk: it moves to a list
// that take_dropped() empties. next_deadline() is TimePoint::min() while that list has
// something, so that whoever answers looks again at once.
//
// Cost: push, remove and a passed deadline O(log n), and O(1) without deadlines.
//
// Thread: as Policy.

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "base/status.h"
#include "base/time.h"
#include "infer/cancellation.h"
#include "model/spec.h"
#include "sched/policy.h"

namespace argosy::sched {

// `start + wait`, or TimePoint::max() where that is beyond time.
TimePoint after(TimePoint start, Micros wait);

class PriorityQueue {
 public:
  using Place = std::uint32_t;  // a queued item's, until it leaves
  static constexpr Place kNone = ~Place{0};

  PriorityQueue() = default;  // one level, no limit, no timeout
  explicit PriorityQueue(const model::Batching& rules);

  // unavailable when the level is full; the item is then left with the caller.
  // Requests past their deadline at `now` do not count.
  Status push(Pending&& item, TimePoint now);

  // Sorts out what passed a deadline by `now`; TimePoint::max() is no time: nothing has.
  void settle(TimePoint now);

  // The walk, in the order things run.
  Place first() const;
  Place after_place(Place place) const;
  const Pending& at(Place place) const { return nodes_[place].item; }
  bool cancelled(Place place) const;
  // Changes when something joined or left the queue other than at its end or by remove():
  // what a walk has passed may then no longer be the front.
  std::uint64_t epoch() const { return epoch_; }

  Pending remove(Place place);
  void drop_cancelled(Place place);

  // Everything past its deadline at `now` or cancelled. O(n) for the cancelled.
  std::vector<Dropped> take_dropped(TimePoint now);
  TimePoint next_deadline() const;

  std::size_t size() const { return size_; }
  TimePoint oldest_arrival() const;

 private:
  struct Node {
    Pending item;
    const infer::Cancellation* cancellation = nullptr;  // kept alive by the request
    TimePoint deadline = TimePoint::max();              // dropped then
    TimePoint patience = TimePoint::max();              // DELAY: behind the live ones from then
    Place before = kNone, after = kNone;
    std::uint32_t heap_at = kNone;
    std::uint32_t level = 0;
    bool delayed = false;
  };
  struct Chain {
    Place head = kNone, tail = kNone;
    std::size_t size = 0;
  };
  struct Level {
    model::QueuePolicy policy;
    Chain live, delayed;
    TimePoint last_patience = TimePoint::min();
  };

  Level& level_for(const infer::Request& request, std::uint32_t& number);
  Place first_from(std::map<std::uint32_t, Level>::const_iterator level) const;
  void append(Chain& chain, Place place);
  void unlink(Chain& chain, Place place);
  void drop(Place place, Status why);
  void drop_expired(TimePoint now);

  bool sooner(Place a, Place b) const;
  void heap_put(std::size_t at, Place place);
  void heap_push(Place place);
  void heap_remove(Place place);
  void heap_rise(std::size_t at, Place place);
  void heap_sink(std::size_t at, Place place);

  model::Batching rules_;                  // levels and their policies; the rest is the batcher's
  bool patient_ = false;                   // some level delays instead of rejecting
  std::map<std::uint32_t, Level> levels_;  // made when first used: a configuration may allow any number
  std::vector<Node> nodes_;
  std::vector<Place> free_;
  std::vector<Place> heap_;  // by (deadline, order); only items with a deadline
  std::vector<Dropped> dropped_;
  std::uint64_t next_order_ = 0;
  std::uint64_t epoch_ = 0;
  std::size_t size_ = 0;
  std::size_t cancellable_ = 0;
};

}  // namespace argosy::sched
