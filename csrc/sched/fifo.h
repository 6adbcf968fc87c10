#pragma once

// Fifo: no batching: each request runs alone, first come first served. What a model
// without a scheduler in its configuration gets.
//
// No limit and no timeout of the model's own; clients' deadlines and cancellations
// count.
//
// Thread: as Policy.

#include "sched/policy.h"
#include "sched/priority_queue.h"

namespace argosy::sched {

class Fifo final : public Policy {
 public:
  Status push(Pending&& item, TimePoint now) override { return queue_.push(std::move(item), now); }
  Decision next(std::size_t instance, TimePoint now) override;
  std::vector<Dropped> expired(TimePoint now) override { return queue_.take_dropped(now); }
  TimePoint next_deadline() const override { return queue_.next_deadline(); }
  std::size_t size() const override { return queue_.size(); }
  TimePoint oldest_arrival() const override { return queue_.oldest_arrival(); }

 private:
  PriorityQueue queue_;
};

}  // namespace argosy::sched
