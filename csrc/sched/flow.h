#pragma once

// Flow: how large a batch is worth waiting for when nobody has set a delay.
//
// Callers that are answered together come back together. An instance that runs at once
// what is there runs their first few requests alone while all others wait for that; one
// that takes all of them leaves the I/O with nothing to do until it has finished. Flow
// watches arrivals and batches, and says for each decision how many rows to aim at:
//   - all that is in flight, where a batch of all takes less time, the wait for the
//     callers included, than the shares would (a GPU on which rows are nearly free);
//   - else one share, of as many as there are instances and one that is on its way.
// It holds an idle instance for that only while arrivals are dense, and never longer than
// half of the last execution, kLongestHold, or four usual gaps without an arrival.
//
// A lone caller, a slow trickle and a saturated queue are never held.
//
// An instance that keeps several batches under way asks for more while one still runs.
// Nothing is lost by waiting then: it gets a whole share at once, most of one just in time
// to be ready when the last it has ends, and less than that only when it has nothing left
// to run. So its batches are those of an instance that runs one at a time.
//
// Pure; times come from outside. Thread: one at a time.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/time.h"

namespace argosy::sched {

class Flow {
 public:
  static constexpr Nanos kLongestHold = std::chrono::milliseconds(1);

  // Rows to run of those queued, or none yet: until when to wait.
  struct Advice {
    std::uint32_t rows = 0;  // at most; only if `hold_until` has passed
    TimePoint hold_until{};
  };

  explicit Flow(std::size_t instances) : places_(instances == 0 ? 1 : instances) {}

  void arrived(std::uint32_t rows, TimePoint now);
  void left(std::uint32_t rows);  // the queue, without having run
  void started(std::size_t instance, std::uint32_t rows, TimePoint now);
  void came_back(std::size_t instance, TimePoint now);  // for work; it may not have run anything

  // From now on ended() says when the instance's oldest batch is over; else coming back does.
  void pipelines(std::size_t instance) { places_[instance].pipelined = true; }
  void ended(std::size_t instance, TimePoint now);

  // `queued`: rows that could run now on `instance`, at least 1; `most`: the largest batch.
  Advice advise(std::size_t instance, std::uint32_t queued, std::uint32_t most, TimePoint now) const;

 private:
  struct Running {
    std::uint32_t rows = 0;
    TimePoint since{};
  };
  struct Place {
    std::vector<Running> running;  // oldest first
    TimePoint ended{};             // the last that is over
    bool pipelined = false;
    bool began_idle = false;  // its last batch, and it has not come back since
  };
  // Execution time as a line over batch rows, the recent batches counting most.
  class Line {
   public:
    void add(double rows, double ns);
    double at(double rows) const;

   private:
    double rows_ = 0, ns_ = 0, rows_rows_ = 0, rows_ns_ = 0;  // averages
    bool any_ = false;
  };

  bool together(std::uint64_t in_flight) const;
  void finish(Place& place, const Running& ran, TimePoint now);
  bool all_busy() const;
  TimePoint expected_end(const Place& place) const;

  std::vector<Place> places_;  // per instance
  std::uint64_t running_rows_ = 0;
  std::uint64_t queued_rows_ = 0;
  std::uint64_t peak_ = 0, last_peak_ = 0;  // rows in flight: since the last batch ended, and before that
  Line execution_;
  std::uint32_t finished_rows_ = 0;  // of the batch that ended last
  std::uint32_t returned_rows_ = 0;  // arrived since
  Nanos last_execution_{};
  TimePoint finished_{};
  Nanos first_return_{};   // from a batch's end until its first caller is back, averaged
  double absence_ns_ = 0;  // and until all are, for each row
  TimePoint last_arrival_{};
  Nanos gap_ = kLongestHold;  // between arrivals, averaged, long ones cut
  Nanos lead_{};              // from taking a batch until it is handed to the device, averaged
};

}  // namespace argosy::sched
