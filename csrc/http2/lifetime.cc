#include "http2/lifetime.h"

#include <algorithm>

namespace argosy::http2 {
namespace {

// A client that may not ping without streams must leave two hours between pings.
constexpr Micros kIdlePingInterval{7'200'000'000};

TimePoint after(TimePoint from, Micros delay) {
  if (delay == kNever || delay > std::chrono::duration_cast<Micros>(TimePoint::max() - from)) return TimePoint::max();
  return from + delay;
}

}  // namespace

Lifetime::Lifetime(const LifetimeRules& rules, TimePoint now)
    : rules_(rules), born_(now), heard_(now), pinged_(now), idle_since_(now), last_received_ping_(now) {}

Lifetime::Next Lifetime::next(TimePoint now) {
  TimePoint wake = TimePoint::max();
  const auto due = [&](TimePoint when) {
    if (when <= now) return true;
    wake = std::min(wake, when);
    return false;
  };

  if (!heard_any_ && due(after(born_, rules_.first_frame_timeout))) return {LifetimeAction::close, now};

  if (awaiting_) {
    if (due(after(pinged_, rules_.keepalive_timeout))) return {LifetimeAction::close, now};
  } else if ((streams_ > 0 || rules_.ping_without_streams) &&
             (rules_.max_pings_without_data == 0 || pings_sent_ < rules_.max_pings_without_data) &&
             due(after(heard_, rules_.keepalive_time))) {
    awaiting_ = true;
    pinged_ = now;
    ++pings_sent_;
    return {LifetimeAction::ping, now};
  }

  if (!drained_) {
    const bool old = due(after(born_, rules_.max_age));
    if (old || (streams_ == 0 && due(after(idle_since_, rules_.max_idle)))) {
      drained_ = true;
      aged_ = old;
      return {LifetimeAction::drain, now};
    }
  } else if (aged_ && due(after(after(born_, rules_.max_age), rules_.max_age_grace))) {
    return {LifetimeAction::close, now};
  }
  return {LifetimeAction::wait, wake};
}

void Lifetime::on_received(TimePoint now) {
  heard_ = now;
  heard_any_ = true;
  awaiting_ = false;
}

void Lifetime::on_sent_data() {
  pings_sent_ = 0;
  strikes_ = 0;
  got_ping_ = false;
}

void Lifetime::on_streams(std::size_t open, TimePoint now) {
  if (open == 0 && streams_ != 0) idle_since_ = now;
  streams_ = open;
}

bool Lifetime::on_ping(TimePoint now) {
  const bool idle = streams_ == 0 && !rules_.ping_without_streams;
  const Micros interval = idle ? kIdlePingInterval : rules_.min_received_ping_interval;
  const bool early = got_ping_ && now < after(last_received_ping_, interval);
  got_ping_ = true;
  last_received_ping_ = now;
  if (!early || rules_.max_ping_strikes == 0) return true;
  return ++strikes_ <= rules_.max_ping_strikes;
}

}  // namespace argosy::http2
