#include "sched/dynamic_batcher.h"

#include <algorithm>

namespace argosy::sched {
namespace {

std::vector<std::uint32_t> preferred_of(const model::ModelSpec& spec, std::uint32_t max_rows) {
  std::vector<std::uint32_t> rows = spec.batching->preferred_rows;
  std::erase_if(rows, [&](std::uint32_t n) { return n == 0 || n > max_rows; });
  if (rows.empty()) rows.push_back(max_rows);
  std::sort(rows.begin(), rows.end());
  return rows;
}

bool is_open(const tensor::Shape& dims) { return std::find(dims.begin(), dims.end(), -1) != dims.end(); }

std::uint32_t rows_of(const Pending& item) { return std::max(1u, item.rows); }

}  // namespace

DynamicBatcher::DynamicBatcher(const model::ModelSpec& spec, std::size_t instances)
    : max_rows_(std::max(1u, spec.max_batch_rows)),
      largest_preferred_(preferred_of(spec, max_rows_).back()),
      preferred_rows_(preferred_of(spec, max_rows_)),
      delay_(spec.batching->max_queue_delay),
      queue_(*spec.batching) {
  if (delay_ == Micros(0) && preferred_rows_ == std::vector{max_rows_}) flow_.emplace(instances);
  for (std::uint32_t i = 0; i < spec.inputs.size(); ++i) {
    const bool shapes_differ = is_open(spec.inputs[i].dims) && !spec.inputs[i].ragged;
    if (!shapes_differ && !spec.inputs[i].optional) continue;
    open_inputs_.push_back(i);
    compares_shape_.push_back(shapes_differ);
  }
}

Status DynamicBatcher::push(Pending&& item, TimePoint now) {
  const std::uint32_t rows = rows_of(item);
  Status status = queue_.push(std::move(item), now);
  if (flow_ && status.ok()) flow_->arrived(rows, now);
  return status;
}

Decision DynamicBatcher::next(std::size_t instance, TimePoint now) {
  const bool closing = now == TimePoint::max();
  if (flow_ && !closing) flow_->came_back(instance, now);
  queue_.settle(now);
  for (;;) {
    const bool resumed = forming_.requests > 0;
    walk();
    if (forming_.requests == 0) return WaitForWork{};

    const TimePoint due = after(forming_.oldest, delay_);
    const bool overdue = delay_ > Micros(0) && now >= due;
    std::size_t ripe = 0;
    if (flow_ && !closing && !forming_.closed) {
      const Flow::Advice advice = flow_->advise(instance, forming_.rows, max_rows_, now);
      // Not for a request whose time would be up.
      if (advice.hold_until > now && queue_.next_deadline() > advice.hold_until) return WaitUntil{advice.hold_until};
      ripe = requests_within(advice.rows);
    } else if (forming_.preferred != 0 && !overdue) {
      ripe = forming_.preferred;
    } else if (forming_.closed || forming_.rows >= largest_preferred_ || overdue || delay_ == Micros(0)) {
      ripe = forming_.requests;
    }
    if (ripe == 0) return WaitUntil{due};
    // What an earlier call walked may have been cancelled since: only running needs to know.
    if (!resumed || !drop_cancelled()) return run(instance, ripe, now);
  }
}

bool DynamicBatcher::drop_cancelled() {
  const auto epoch = queue_.epoch();
  for (auto place = forming_.first; place != PriorityQueue::kNone;) {
    const auto following = place == forming_.last ? PriorityQueue::kNone : queue_.after_place(place);
    if (queue_.cancelled(place)) queue_.drop_cancelled(place);
    place = following;
  }
  return epoch != queue_.epoch();
}

void DynamicBatcher::walk() {
  if (forming_.epoch != queue_.epoch()) forming_ = {.epoch = queue_.epoch()};
  while (!forming_.closed) {
    const auto place = forming_.requests == 0 ? queue_.first() : queue_.after_place(forming_.last);
    if (place == PriorityQueue::kNone) return;
    if (queue_.cancelled(place)) {
      queue_.drop_cancelled(place);
      // What was walked stands before `place`, so it has not changed.
      forming_.epoch = queue_.epoch();
      continue;
    }
    const Pending& item = queue_.at(place);
    const std::uint32_t rows = rows_of(item);
    if (forming_.requests == 0) {
      forming_.first = place;
    } else {
      if (forming_.preferred == 0 && forming_.rows + rows > largest_preferred_) {
        forming_.preferred = forming_.requests;
      }
      if (rows > max_rows_ - std::min(max_rows_, forming_.rows) ||
          !fits_shapes(*queue_.at(forming_.first).request, *item.request)) {
        forming_.closed = true;
        return;
      }
    }
    forming_.rows += rows;
    forming_.oldest = std::min(forming_.oldest, item.arrived);
    forming_.last = place;
    ++forming_.requests;
    if (is_preferred(forming_.rows)) forming_.preferred = forming_.requests;
  }
}

bool DynamicBatcher::fits_shapes(const infer::Request& first, const infer::Request& other) const {
  // Types need no look: check_request() let only the model's own pass.
  for (std::size_t k = 0; k < open_inputs_.size(); ++k) {
    const tensor::Tensor& a = first.inputs[open_inputs_[k]];
    const tensor::Tensor& b = other.inputs[open_inputs_[k]];
    if (a.name.empty() != b.name.empty()) return false;
    if (!compares_shape_[k] || a.name.empty()) continue;
    // The first dimension is the batch: a model that does not batch runs each request alone.
    if (a.shape.rank() != b.shape.rank()) return false;
    for (std::size_t d = 1; d < a.shape.rank(); ++d) {
      if (a.shape[d] != b.shape[d]) return false;
    }
  }
  return true;
}

bool DynamicBatcher::is_preferred(std::uint32_t rows) const {
  return std::binary_search(preferred_rows_.begin(), preferred_rows_.end(), rows);
}

void DynamicBatcher::pipelines(std::size_t instance) {
  if (flow_) flow_->pipelines(instance);
}

void DynamicBatcher::ended(std::size_t instance, TimePoint now) {
  if (flow_) flow_->ended(instance, now);
}

std::vector<Dropped> DynamicBatcher::expired(TimePoint now) {
  auto dropped = queue_.take_dropped(now);
  if (flow_) {
    for (const Dropped& one : dropped) flow_->left(rows_of(one.item));
  }
  return dropped;
}

// How many of the walked requests fit into `rows`; at least one.
std::size_t DynamicBatcher::requests_within(std::uint32_t rows) const {
  if (forming_.rows <= rows) return forming_.requests;
  std::size_t count = 0;
  std::uint64_t sum = 0;
  for (auto place = forming_.first; count < forming_.requests; place = queue_.after_place(place)) {
    sum += rows_of(queue_.at(place));
    if (sum > rows && count > 0) break;
    ++count;
  }
  return count;
}

Decision DynamicBatcher::run(std::size_t instance, std::size_t requests, TimePoint now) {
  RunBatch batch;
  batch.items.reserve(requests);
  std::uint32_t rows = 0;
  auto place = forming_.first;
  for (std::size_t i = 0; i < requests; ++i) {
    const auto following = queue_.after_place(place);
    batch.items.push_back(queue_.remove(place));
    rows += rows_of(batch.items.back());
    place = following;
  }
  if (flow_ && now != TimePoint::max()) flow_->started(instance, rows, now);
  forming_ = {.epoch = queue_.epoch()};
  return batch;
}

}  // namespace argosy::sched
