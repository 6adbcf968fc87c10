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
  Running& place = running_[instance];
  place = {place.rows + rows, now};
  running_rows_ += rows;
  left(rows);
}

void Flow::came_back(std::size_t instance, TimePoint now) {
  Running& ran = running_[instance];
  if (ran.rows == 0) return;
  last_execution_ = now - ran.since;
  execution_.add(ran.rows, static_cast<double>(last_execution_.count()));
  running_rows_ -= ran.rows;
  finished_rows_ = ran.rows;
  returned_rows_ = 0;
  finished_ = now;
  last_peak_ = std::exchange(peak_, queued_rows_ + running_rows_);
  ran = {};
}

bool Flow::together(std::uint64_t in_flight) const {
  const double instances = static_cast<double>(running_.size());
  const double all = std::max(1.0, static_cast<double>(in_flight) / instances);
  const double share = std::max(1.0, static_cast<double>(in_flight) / (instances + 1));
  // A row's time in a batch of all with the wait for them, against one in a share.
  return execution_.at(all) / all + absence_ns_ < execution_.at(share) / share;
}

Flow::Advice Flow::advise(std::uint32_t queued, std::uint32_t most, TimePoint now) const {
  if (last_execution_ == Nanos(0)) return {most, now};
  const std::uint64_t in_flight = std::max(peak_, last_peak_);
  const bool wait_for_all = together(in_flight);
  const std::uint64_t shares = running_.size() + (wait_for_all ? 0 : 1);
  const auto aim = static_cast<std::uint32_t>(std::clamp<std::uint64_t>((in_flight + shares - 1) / shares, 1, most));
  // The last quarter of a share is not worth a wait.
  if (queued >= (wait_for_all ? aim : aim - aim / 4)) {
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
