#include "sched/priority_queue.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace argosy::sched {
namespace {

// Past these, memory and levels of a burst are given back when it is over.
constexpr std::size_t kNodesKept = 4096;
constexpr std::size_t kLevelsKept = 64;

bool delays(const model::QueuePolicy& policy) {
  return policy.timeout_action == model::TimeoutAction::delay && policy.default_timeout > Micros(0);
}

}  // namespace

TimePoint after(TimePoint start, Micros wait) {
  if (wait > std::chrono::duration_cast<Micros>(TimePoint::max() - std::max(start, TimePoint{}))) {
    return TimePoint::max();
  }
  return start + wait;
}

PriorityQueue::PriorityQueue(const model::Batching& rules)
    : rules_{.priority_levels = rules.priority_levels,
             .default_priority = rules.default_priority,
             .default_policy = rules.default_policy,
             .level_policies = rules.level_policies},
      patient_(delays(rules.default_policy)) {
  for (const auto& [level, policy] : rules_.level_policies) patient_ = patient_ || delays(policy);
}

PriorityQueue::Level& PriorityQueue::level_for(const infer::Request& request, std::uint32_t& number) {
  number = 0;
  if (rules_.priority_levels > 0) {
    const bool named = request.priority >= 1 && request.priority <= rules_.priority_levels;
    number = named ? static_cast<std::uint32_t>(request.priority) : rules_.default_priority;
  }
  const auto [found, made] = levels_.try_emplace(number);
  if (made) {
    const auto own = rules_.level_policies.find(number);
    const bool has_own = rules_.priority_levels > 0 && own != rules_.level_policies.end();
    found->second.policy = has_own ? own->second : rules_.default_policy;
  }
  return found->second;
}

Status PriorityQueue::push(Pending&& item, TimePoint now) {
  assert(item.request != nullptr);
  std::uint32_t number = 0;
  Level& level = level_for(*item.request, number);
  const model::QueuePolicy& policy = level.policy;
  const auto queued = [&level] { return level.live.size + level.delayed.size; };
  if (policy.max_queue_size > 0 && queued() >= policy.max_queue_size) {
    drop_expired(now);
    if (queued() >= policy.max_queue_size) {
      return unavailable(infer::id_prefix(*item.request) + "Exceeds maximum queue size");
    }
  }

  Place place;
  if (free_.empty()) {
    place = static_cast<Place>(nodes_.size());
    nodes_.emplace_back();
  } else {
    place = free_.back();
    free_.pop_back();
  }
  Node& node = nodes_[place];
  node.item = std::move(item);
  node.item.order = next_order_++;
  node.cancellation = node.item.request->cancellation.get();
  node.deadline = node.item.request->deadline;
  node.patience = TimePoint::max();
  node.level = number;
  node.delayed = false;
  if (policy.default_timeout > Micros(0)) {
    const TimePoint due = after(node.item.arrived, policy.default_timeout);
    if (policy.timeout_action == model::TimeoutAction::reject) {
      node.deadline = std::min(node.deadline, due);
    } else {
      // Threads may push a hair out of arrival order; settle() looks at the front alone.
      node.patience = level.last_patience = std::max(level.last_patience, due);
    }
  }
  append(level.live, place);
  if (node.deadline != TimePoint::max()) heap_push(place);
  if (node.cancellation != nullptr) ++cancellable_;
  ++size_;
  if (level.delayed.size > 0 || levels_.rbegin()->first != number) ++epoch_;
  return {};
}

void PriorityQueue::settle(TimePoint now) {
  drop_expired(now);
  if (!patient_ || now == TimePoint::max()) return;
  for (auto& [number, level] : levels_) {
    while (level.live.head != kNone && nodes_[level.live.head].patience <= now) {
      const Place place = level.live.head;
      unlink(level.live, place);
      nodes_[place].delayed = true;
      append(level.delayed, place);
      ++epoch_;
    }
  }
}

void PriorityQueue::drop_expired(TimePoint now) {
  if (now == TimePoint::max()) return;
  while (!heap_.empty() && nodes_[heap_.front()].deadline <= now) {
    drop(heap_.front(), unavailable("Request timeout expired"));
  }
}

PriorityQueue::Place PriorityQueue::first() const { return first_from(levels_.begin()); }

PriorityQueue::Place PriorityQueue::after_place(Place place) const {
  const Node& node = nodes_[place];
  if (node.after != kNone) return node.after;
  const auto level = levels_.find(node.level);
  if (!node.delayed && level->second.delayed.head != kNone) return level->second.delayed.head;
  return first_from(std::next(level));
}

PriorityQueue::Place PriorityQueue::first_from(std::map<std::uint32_t, Level>::const_iterator level) const {
  for (; level != levels_.end(); ++level) {
    if (level->second.live.head != kNone) return level->second.live.head;
    if (level->second.delayed.head != kNone) return level->second.delayed.head;
  }
  return kNone;
}

bool PriorityQueue::cancelled(Place place) const {
  const auto* cancellation = nodes_[place].cancellation;
  return cancellation != nullptr && cancellation->cancelled();
}

Pending PriorityQueue::remove(Place place) {
  Node& node = nodes_[place];
  const auto found = levels_.find(node.level);
  Level& level = found->second;
  unlink(node.delayed ? level.delayed : level.live, place);
  if (node.heap_at != kNone) heap_remove(place);
  if (node.cancellation != nullptr) --cancellable_;
  Pending item = std::move(node.item);
  free_.push_back(place);
  --size_;
  if (levels_.size() > kLevelsKept && level.live.size + level.delayed.size == 0) levels_.erase(found);
  if (size_ == 0 && nodes_.size() > kNodesKept) {
    nodes_ = std::vector<Node>();
    free_ = std::vector<Place>();
    heap_ = std::vector<Place>();
  }
  return item;
}

void PriorityQueue::drop_cancelled(Place place) { drop(place, argosy::cancelled("Request was cancelled")); }

void PriorityQueue::drop(Place place, Status why) {
  ++epoch_;
  dropped_.push_back({remove(place), std::move(why)});
}

std::vector<Dropped> PriorityQueue::take_dropped(TimePoint now) {
  settle(now);
  // Nobody tells which request was cancelled, so all are asked; the flags are
  // independent loads, and 10^5 of them take about a millisecond.
  for (Place place = 0; cancellable_ > 0 && place < nodes_.size(); ++place) {
    if (nodes_[place].item.request != nullptr && cancelled(place)) drop_cancelled(place);
  }
  return std::exchange(dropped_, {});
}

TimePoint PriorityQueue::next_deadline() const {
  if (!dropped_.empty()) return TimePoint::min();
  return heap_.empty() ? TimePoint::max() : nodes_[heap_.front()].deadline;
}

TimePoint PriorityQueue::oldest_arrival() const {
  TimePoint oldest = TimePoint::max();
  for (const auto& [number, level] : levels_) {
    for (const Chain* chain : {&level.live, &level.delayed}) {
      if (chain->head != kNone) oldest = std::min(oldest, nodes_[chain->head].item.arrived);
    }
  }
  return oldest;
}

void PriorityQueue::append(Chain& chain, Place place) {
  nodes_[place].before = chain.tail;
  nodes_[place].after = kNone;
  (chain.tail == kNone ? chain.head : nodes_[chain.tail].after) = place;
  chain.tail = place;
  ++chain.size;
}

void PriorityQueue::unlink(Chain& chain, Place place) {
  const Node& node = nodes_[place];
  (node.before == kNone ? chain.head : nodes_[node.before].after) = node.after;
  (node.after == kNone ? chain.tail : nodes_[node.after].before) = node.before;
  --chain.size;
}

bool PriorityQueue::sooner(Place a, Place b) const {
  const Node &x = nodes_[a], &y = nodes_[b];
  return x.deadline != y.deadline ? x.deadline < y.deadline : x.item.order < y.item.order;
}

void PriorityQueue::heap_put(std::size_t at, Place place) {
  heap_[at] = place;
  nodes_[place].heap_at = static_cast<std::uint32_t>(at);
}

void PriorityQueue::heap_push(Place place) {
  heap_.push_back(place);
  heap_rise(heap_.size() - 1, place);
}

void PriorityQueue::heap_remove(Place place) {
  const std::size_t at = nodes_[place].heap_at;
  nodes_[place].heap_at = kNone;
  const Place last = heap_.back();
  heap_.pop_back();
  if (last == place) return;
  if (at > 0 && sooner(last, heap_[(at - 1) / 2])) {
    heap_rise(at, last);
  } else {
    heap_sink(at, last);
  }
}

void PriorityQueue::heap_rise(std::size_t at, Place place) {
  while (at > 0 && sooner(place, heap_[(at - 1) / 2])) {
    heap_put(at, heap_[(at - 1) / 2]);
    at = (at - 1) / 2;
  }
  heap_put(at, place);
}

void PriorityQueue::heap_sink(std::size_t at, Place place) {
  for (;;) {
    std::size_t child = 2 * at + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && sooner(heap_[child + 1], heap_[child])) ++child;
    if (!sooner(heap_[child], place)) break;
    heap_put(at, heap_[child]);
    at = child;
  }
  heap_put(at, place);
}

}  // namespace argosy::sched
