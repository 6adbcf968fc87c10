#include "sched/fifo.h"

namespace argosy::sched {

Decision Fifo::next(std::size_t, TimePoint now) {
  queue_.settle(now);
  for (auto place = queue_.first(); place != PriorityQueue::kNone; place = queue_.first()) {
    if (queue_.cancelled(place)) {
      queue_.drop_cancelled(place);
      continue;
    }
    RunBatch alone;
    alone.items.push_back(queue_.remove(place));
    return alone;
  }
  return WaitForWork{};
}

}  // namespace argosy::sched
