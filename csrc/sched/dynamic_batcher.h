#pragma once

// DynamicBatcher: which queued requests run together, and when.
//
// A batch is a run from the front of the queue: higher levels first, first come first
// served within a level, never overtaking. It ends before the request that would make
// it larger than max_batch_rows, or whose open inputs have another shape or are
// otherwise present than the first one's. Such a batch runs at once; so does one that
// reaches the largest preferred size. A smaller preferred size is taken when nothing
// more would fit under the largest, or at once without a delay. What is left waits
// until its oldest request is max_queue_delay old; delay 0 does not wait for a time.
// With nothing set, neither a delay nor sizes, Flow says what is worth a short wait.
//
// An empty request (0 rows) counts as one row.
//
// Thread: as Policy.

#include <cstdint>
#include <optional>
#include <vector>

#include "model/spec.h"
#include "sched/flow.h"
#include "sched/policy.h"
#include "sched/priority_queue.h"

namespace argosy::sched {

class DynamicBatcher final : public Policy {
 public:
  DynamicBatcher(const model::ModelSpec& spec, std::size_t instances);  // spec.batching is set

  Status push(Pending&& item, TimePoint now) override;
  Decision next(std::size_t instance, TimePoint now) override;
  void pipelines(std::size_t instance) override;
  void ended(std::size_t instance, TimePoint now) override;
  std::vector<Dropped> expired(TimePoint now) override;
  TimePoint next_deadline() const override { return queue_.next_deadline(); }
  std::size_t size() const override { return queue_.size(); }
  TimePoint oldest_arrival() const override { return queue_.oldest_arrival(); }

 private:
  // The batch at the front of the queue as far as it has been walked. Kept between
  // calls, so that a batch that grows while it waits is walked once, not once a push.
  struct Forming {
    std::uint64_t epoch = 0;
    PriorityQueue::Place first = PriorityQueue::kNone, last = PriorityQueue::kNone;
    std::uint32_t rows = 0;
    std::size_t requests = 0;
    std::size_t preferred = 0;  // requests in the largest preferred prefix; 0: none
    bool closed = false;        // the next request does not fit
    TimePoint oldest = TimePoint::max();
  };

  void walk();
  bool drop_cancelled();  // among what was walked; whether any was
  bool fits_shapes(const infer::Request& first, const infer::Request& other) const;
  bool is_preferred(std::uint32_t rows) const;
  std::size_t requests_within(std::uint32_t rows) const;
  Decision run(std::size_t instance, std::size_t requests, TimePoint now);

  const std::uint32_t max_rows_;
  const std::uint32_t largest_preferred_;
  const std::vector<std::uint32_t> preferred_rows_;  // ascending
  const Micros delay_;
  std::optional<Flow> flow_;                // when nothing is set
  std::vector<std::uint32_t> open_inputs_;  // whose shape or presence can differ between requests
  std::vector<bool> compares_shape_;        // per entry of open_inputs_
  PriorityQueue queue_;
  Forming forming_;
};

}  // namespace argosy::sched
