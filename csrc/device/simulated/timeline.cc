#include "device/simulated/timeline.h"

#include <algorithm>
#include <limits>

namespace argosy::device {

Timeline::~Timeline() {
  state_.lock()->stopped = true;
  changed_.notify_all();
  threads_.clear();
}

std::size_t Timeline::add_stream() {
  auto state = state_.lock();
  const std::size_t stream = state->lanes.size();
  state->lanes.emplace_back();
  if (pace_ == Pace::free) state->lanes.back().permitted = std::numeric_limits<std::uint64_t>::max();
  threads_.emplace_back([this, stream] { run(stream); });
  return stream;
}

void Timeline::finish_stream(std::size_t stream) {
  wait(now(stream));
  state_.lock()->lanes[stream].closed = true;
  changed_.notify_all();
}

bool Timeline::due(const State& state, const Lane& lane) {
  if (lane.pending.empty() || lane.done >= lane.permitted) return false;
  const auto& after = lane.pending.front().after;
  return !after || state.lanes[after->stream].done >= after->operations;
}

bool Timeline::runnable(const State& state, std::size_t stream) const {
  if (!due(state, state.lanes[stream])) return false;
  if (pace_ == Pace::free) return true;
  if (state.running) return false;
  for (std::size_t before = 0; before < stream; ++before) {
    if (due(state, state.lanes[before])) return false;
  }
  return true;
}

std::optional<std::function<void()>> Timeline::next(std::size_t stream) {
  auto state = state_.lock();
  Lane& lane = state->lanes[stream];
  while (!runnable(*state, stream)) {
    if (state->stopped || (lane.closed && lane.pending.empty())) return std::nullopt;
    state.wait(changed_);
  }
  state->running = true;
  return std::move(lane.pending.front().work);
}

void Timeline::run(std::size_t stream) {
  while (auto work = next(stream)) {
    if (*work) (*work)();
    auto state = state_.lock();
    state->running = false;
    state->lanes[stream].pending.pop_front();
    ++state->lanes[stream].done;
    changed_.notify_all();
  }
}

void Timeline::add(std::size_t stream, Operation operation) {
  auto state = state_.lock();
  Lane& lane = state->lanes[stream];
  lane.pending.push_back(std::move(operation));
  ++lane.enqueued;
  if (pace_ == Pace::free) changed_.notify_all();
  tick(state);
}

void Timeline::enqueue(std::size_t stream, std::function<void()> work) { add(stream, {std::move(work), {}}); }

void Timeline::enqueue_wait(std::size_t stream, Point after) { add(stream, {{}, after}); }

Point Timeline::now(std::size_t stream) { return {stream, state_.lock()->lanes[stream].enqueued}; }

bool Timeline::reached(Point point) {
  auto state = state_.lock();
  tick(state);
  return state->lanes[point.stream].done >= point.operations;
}

void Timeline::permit(State& state, Point point) {
  Lane& lane = state.lanes[point.stream];
  if (point.operations <= lane.permitted) return;
  const std::uint64_t from = std::max(lane.permitted, lane.done);
  lane.permitted = point.operations;
  for (std::uint64_t i = from; i < point.operations; ++i) {
    if (const auto& after = lane.pending[i - lane.done].after) permit(state, *after);
  }
}

void Timeline::wait(Point point) {
  auto state = state_.lock();
  permit(*state, point);
  changed_.notify_all();
  while (state->lanes[point.stream].done < point.operations) state.wait(changed_);
}

void Timeline::tick(Lock& state) {
  if (pace_ != Pace::seeded) return;
  std::vector<std::size_t> busy;
  for (std::size_t i = 0; i < state->lanes.size(); ++i) {
    if (!state->lanes[i].pending.empty()) busy.push_back(i);
  }
  if (busy.empty() || state->random() % 2 == 0) return;
  const std::size_t stream = busy[state->random() % busy.size()];
  const Lane& lane = state->lanes[stream];
  const Point point{stream, lane.done + 1 + state->random() % lane.pending.size()};
  permit(*state, point);
  changed_.notify_all();
  while (lane.done < point.operations) state.wait(changed_);
}

std::uint64_t Timeline::draw(std::uint64_t bound) { return state_.lock()->random() % bound; }

}  // namespace argosy::device
