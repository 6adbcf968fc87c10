#include "engine/model_queue.h"

#include <algorithm>
#include <utility>

namespace argosy::engine {

ModelQueue::ModelQueue(std::unique_ptr<sched::Policy> policy, std::size_t instances, const Clock& clock)
    : instances_(instances), clock_(clock), signals_(new std::condition_variable[instances]) {
  auto state = state_.lock();
  state->policy = std::move(policy);
  state->places.resize(instances);
  state->asleep.reserve(instances);
}

ModelQueue::Pushed ModelQueue::push(sched::Pending&& item, TimePoint now, Wake wake) {
  std::optional<std::size_t> called;
  Pushed pushed;
  {
    auto state = state_.lock();
    if (state->closed) return {unavailable("model is unloading"), TimePoint::max(), false, {}};
    // Under the lock: whoever cancels later makes expire() look, and finds it queued.
    if (item.request->cancelled()) return {cancelled("request was cancelled"), TimePoint::max(), false, {}};
    Status status = state->policy->push(std::move(item), now);
    pushed.next_deadline = state->policy->next_deadline();
    if (!status.ok()) {
      pushed.status = std::move(status);
      return pushed;
    }
    const bool sleeper = !state->timed && state->called == 0 && !state->asleep.empty();
    if (wake == Wake::borrow && sleeper) pushed.loan = lend_one(*state, now);
    if (wake == Wake::later && sleeper) {
      pushed.owes_wake = !std::exchange(state->owed, true);
    } else if (!pushed.loan || state->policy->size() > 0) {
      called = call_one(*state, now);
    }
  }
  signal(called);
  return pushed;
}

std::optional<ModelQueue::Loan> ModelQueue::lend_one(State& state, TimePoint now) {
  const std::size_t chosen = state.asleep.back();
  if (!state.places[chosen].lendable) return std::nullopt;
  auto decision = state.policy->next(chosen, now);
  auto* batch = std::get_if<sched::RunBatch>(&decision);
  if (!batch) return std::nullopt;
  state.asleep.pop_back();
  state.places[chosen].rest = Rest::lent;
  return Loan{chosen, {std::move(batch->items), now, now, state.policy->next_deadline()}};
}

void ModelQueue::lend(std::size_t instance) { state_.lock()->places[instance].lendable = true; }

void ModelQueue::give_back(std::size_t instance) {
  std::optional<std::size_t> called;
  {
    auto state = state_.lock();
    Place& place = state->places[instance];
    // The policy hears that the batch is over, as it does from an instance that comes for work.
    auto decision = state->policy->next(instance, state->closed ? TimePoint::max() : clock_.now());
    if (std::holds_alternative<sched::WaitForWork>(decision) && !state->closed) {
      place.rest = Rest::asleep;
      state->asleep.push_back(instance);
    } else {
      if (auto* batch = std::get_if<sched::RunBatch>(&decision)) place.handed = std::move(*batch);
      place.rest = Rest::called;
      ++state->called;
      called = instance;
    }
  }
  signal(called);
}

void ModelQueue::wake() {
  std::optional<std::size_t> called;
  {
    auto state = state_.lock();
    state->owed = false;
    if (state->policy->size() > 0) called = call_one(*state, clock_.now());
  }
  signal(called);
}

// Whom to wake because something is queued; it counts as called from now on.
std::optional<std::size_t> ModelQueue::call_one(State& state, TimePoint now) {
  if (state.called > 0) return std::nullopt;  // it will take what has come, and call on
  std::size_t chosen = 0;
  if (state.timed) {
    chosen = *state.timed;
    auto decision = state.policy->next(chosen, now);
    if (auto* batch = std::get_if<sched::RunBatch>(&decision)) {
      state.places[chosen].handed = std::move(*batch);
    } else {
      const auto* wait = std::get_if<sched::WaitUntil>(&decision);
      if (!wait || wait->when >= state.due) return std::nullopt;
    }
    state.timed.reset();
  } else if (!state.asleep.empty()) {
    chosen = state.asleep.back();
    state.asleep.pop_back();
  } else {
    return std::nullopt;
  }
  state.places[chosen].rest = Rest::called;
  ++state.called;
  return chosen;
}

std::optional<ModelQueue::Taken> ModelQueue::take(std::size_t instance) {
  const TimePoint free_since = clock_.now();
  TimePoint now = free_since;
  Taken taken;
  std::optional<std::size_t> called;
  {
    auto state = state_.lock();
    Place& place = state->places[instance];
    for (;; now = clock_.now()) {
      std::optional<TimePoint> due;
      if (place.handed) {
        taken.items = std::move(place.handed->items);
        place.handed.reset();
      } else {
        auto decision = state->policy->next(instance, state->closed ? TimePoint::max() : now);
        if (auto* batch = std::get_if<sched::RunBatch>(&decision)) taken.items = std::move(batch->items);
        if (auto* wait = std::get_if<sched::WaitUntil>(&decision)) due = wait->when;
      }
      if (!taken.items.empty()) {
        if (state->policy->size() > 0) called = call_one(*state, now);
        taken.next_deadline = state->policy->next_deadline();
        break;
      }
      if (state->closed) return std::nullopt;
      if (std::exchange(place.interrupted, false)) {
        if (state->policy->size() > 0) called = call_one(*state, now);
        taken.next_deadline = state->policy->next_deadline();
        break;
      }
      rest(state, instance, due);
    }
  }
  signal(called);
  taken.when = now;
  taken.free_since = free_since;
  return taken;
}

// Returns when called, when `due` has come, or when closed.
void ModelQueue::rest(Guarded<State>::Lock& state, std::size_t instance, std::optional<TimePoint> due) {
  Place& place = state->places[instance];
  auto& signal = signals_[instance];
  if (due && !state->timed) {
    place.rest = Rest::timed;
    state->timed = instance;
    state->due = *due;
    while (place.rest == Rest::timed && !state->closed && !place.interrupted && clock_.now() < *due) {
      state.wait_until(signal, *due);
    }
    if (place.rest == Rest::timed) state->timed.reset();
  } else {
    place.rest = Rest::asleep;
    state->asleep.push_back(instance);
    while (place.rest == Rest::lent || (place.rest == Rest::asleep && !state->closed && !place.interrupted)) {
      state.wait(signal);
    }
    if (place.rest == Rest::asleep) std::erase(state->asleep, instance);
  }
  if (place.rest == Rest::called) --state->called;
  place.rest = Rest::busy;
}

void ModelQueue::interrupt(std::size_t instance) {
  state_.lock()->places[instance].interrupted = true;
  signals_[instance].notify_one();
}

void ModelQueue::ended(std::size_t instance) {
  std::optional<std::size_t> called;
  {
    auto state = state_.lock();
    const TimePoint now = clock_.now();
    state->policy->ended(instance, now);
    Place& place = state->places[instance];
    if (state->policy->size() == 0) return;
    if (place.rest == Rest::asleep && state->called == 0) {
      // It has less to do than whoever waits for a time.
      std::erase(state->asleep, instance);
      place.rest = Rest::called;
      ++state->called;
      called = instance;
    } else if (state->timed) {
      called = call_one(*state, now);
    }
  }
  signal(called);
}

ModelQueue::Expired ModelQueue::expire(TimePoint now) {
  auto state = state_.lock();
  Expired expired{state->policy->expired(now), TimePoint::max()};
  expired.next_deadline = state->policy->next_deadline();
  return expired;
}

void ModelQueue::close() {
  state_.lock()->closed = true;
  for (std::size_t i = 0; i < instances_; ++i) signals_[i].notify_all();
}

std::vector<sched::Pending> ModelQueue::abandon() {
  std::vector<sched::Pending> left;
  {
    auto state = state_.lock();
    state->closed = true;
    // Per instance: a policy may keep work for a particular one.
    for (std::size_t i = 0; i < instances_; ++i) {
      for (;;) {
        auto decision = state->policy->next(i, TimePoint::max());
        auto* batch = std::get_if<sched::RunBatch>(&decision);
        if (!batch) break;
        std::move(batch->items.begin(), batch->items.end(), std::back_inserter(left));
      }
    }
  }
  for (std::size_t i = 0; i < instances_; ++i) signals_[i].notify_all();
  return left;
}

ModelQueue::Waiting ModelQueue::waiting() {
  auto state = state_.lock();
  return {state->policy->size(), state->policy->oldest_arrival()};
}

void ModelQueue::signal(std::optional<std::size_t> instance) {
  if (instance) signals_[*instance].notify_one();
}

}  // namespace argosy::engine
