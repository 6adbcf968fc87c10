#include "sched/flow.h"

#include <algorithm>
#include <utility>

namespace argosy::sched {
namespace {

constexpr std::uint32_t kLeastShare = 4;  // rows; smaller ones are not worth a batch of their own

void blend(Nanos& average, Nanos sample) { average += (sample - average) / 8; }

}  // namespace

void Flow::Line::add(double rows, double ns) {
  constexpr double kWeight = 1.0 / 64;
  const double weight = any_ ? kWeight : 1;
  any_ = true;
  rows_ += weight * (rows - rows_);
  ns_ += weight * (ns - ns_);
  rows_rows_ += weight * (rows * rows - rows_rows_);
  rows_ns_ += weight * (rows * ns - rows_ns_);
}

// Where all batches were of about one size, rows are taken to be free: a larger batch is
// then tried, and there is a line.
double Flow::Line::at(double rows) const {
  const double spread = rows_rows_ - rows_ * rows_;
  if (spread < 0.0025 * rows_ * rows_) return ns_;
  const double slope = std::max(0.0, (rows_ns_ - rows_ * ns_) / spread);
  return std::max(0.0, ns_ + slope * (rows - rows_));
}

void Flow::arrived(std::uint32_t rows, TimePoint now) {
  blend(gap_, std::clamp(now - last_arrival_, Nanos(0), kLongestHold));
  last_arrival_ = std::max(last_arrival_, now);
  queued_rows_ += rows;
  peak_ = std::max(peak_, queued_rows_ + running_rows_);
  if (returned_rows_ == finished_rows_) return;
  if (returned_rows_ == 0) blend(first_return_, std::max(now - finished_, Nanos(0)));
  returned_rows_ += std::min(rows, finished_rows_ - returned_rows_);
  if (returned_rows_ == finished_rows_) {
    const double each = static_cast<double>((now - finished_).count()) / finished_rows_;
    absence_ns_ += (each - absence_ns_) / 8;
  }
}

void Flow::left(std::uint32_t rows) { queued_rows_ -= std::min<std::uint64_t>(queued_rows_, rows); }

void Flow::started(std::size_t instance, std::uint32_t rows, TimePoint now) {
  Place& place = places_[instance];
  place.began_idle = place.running.empty();
  if (place.pipelined || place.running.empty()) {
    place.running.push_back({rows, now});
  } else {
    place.running.front() = {place.running.front().rows + rows, now};
  }
  running_rows_ += rows;
  left(rows);
}

void Flow::came_back(std::size_t instance, TimePoint now) {
  Place& place = places_[instance];
  if (place.running.empty()) return;
  if (!place.pipelined) {
    finish(place, place.running.front(), now);
    place.running.clear();
  } else if (std::exchange(place.began_idle, false)) {
    // With more under way it may have waited for one of them first.
    const Nanos took = now - place.running.front().since;
    lead_ == Nanos(0) ? void(lead_ = took) : blend(lead_, took);
  }
}

void Flow::ended(std::size_t instance, TimePoint now) {
  Place& place = places_[instance];
  if (!place.pipelined || place.running.empty()) return;
  finish(place, place.running.front(), now);
  place.running.erase(place.running.begin());
}

void Flow::finish(Place& place, const Running& ran, TimePoint now) {
  // A batch that was taken while another ran began when that one was over.
  last_execution_ = now - std::max(ran.since, place.ended);
  execution_.add(ran.rows, static_cast<double>(last_execution_.count()));
  running_rows_ -= ran.rows;
  finished_rows_ = ran.rows;
  returned_rows_ = 0;
  finished_ = place.ended = now;
  last_peak_ = std::exchange(peak_, queued_rows_ + running_rows_);
}

bool Flow::together(std::uint64_t in_flight) const {
  const double instances = static_cast<double>(places_.size());
  const double all = std::max(1.0, static_cast<double>(in_flight) / instances);
  const double share = std::max(1.0, static_cast<double>(in_flight) / (instances + 1));
  // A row's time in a batch of all with the wait for them, against one in a share.
  return execution_.at(all) / all + absence_ns_ < execution_.at(share) / share;
}

bool Flow::all_busy() const {
  return std::all_of(places_.begin(), places_.end(), [](const Place& place) { return !place.running.empty(); });
}

TimePoint Flow::expected_end(const Place& place) const {
  TimePoint end = std::max(place.running.front().since, place.ended);
  for (const Running& one : place.running) end += Nanos(static_cast<Nanos::rep>(execution_.at(one.rows)));
  return end;
}

Flow::Advice Flow::advise(std::size_t instance, std::uint32_t queued, std::uint32_t most, TimePoint now) const {
  if (last_execution_ == Nanos(0)) return {most, now};
  const std::uint64_t in_flight = std::max(peak_, last_peak_);
  const bool wait_for_all = together(in_flight);
  const std::uint64_t shares = places_.size() + (wait_for_all ? 0 : 1);
  const auto aim = static_cast<std::uint32_t>(std::clamp<std::uint64_t>((in_flight + shares - 1) / shares, 1, most));
  // The last quarter of a share is not worth a wait.
  const bool enough = queued >= (wait_for_all ? aim : aim - aim / 4);
  const Place& place = places_[instance];
  if (!place.running.empty() && queued < aim && all_busy()) {
    const TimePoint end = expected_end(place);
    if (enough) return {most, end - std::min(lead_, last_execution_ / 2)};
    return {most, std::max(end, now + kLongestHold)};  // ended() comes first
  }
  if (enough) {
    // Cut only where all there is would go at once; a long queue fills batches anyhow.
    const bool cut = !wait_for_all && aim >= kLeastShare && queued >= in_flight && queued > aim + aim / 2;
    return {cut ? aim : most, now};
  }
  if (gap_ * 4 > last_execution_) return {most, now};
  const Nanos longest = std::min(last_execution_, kLongestHold);
  const TimePoint next_due = returned_rows_ > 0 ? last_arrival_ + gap_ * 4 : finished_ + first_return_ * 2;
  return {most, std::min(finished_ + longest, next_due)};
}

}  // namespace argosy::sched
