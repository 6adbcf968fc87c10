#pragma once

// Measurement: runs the senders at one load until the figures hold still, and says
// what was seen, on the client and, where it can be known, in the server.
//
// Stable means: over the last three windows, throughput and the chosen percentile
// each stay within `stability` of their mean. The result is those three windows; a
// load that never gets stable is reported as such, with its last three.
//
// Thread: one; senders have their own.

#include <atomic>
#include <optional>
#include <string>
#include <vector>

#include "load/control_client.h"
#include "load/process_usage.h"
#include "load/sender.h"

namespace argosy::load {

struct MeasureRules {
  std::uint32_t threads = 1;
  Nanos warm_up{};
  Nanos window{};
  std::size_t windows = 3;       // that must agree
  std::size_t max_windows = 10;  // then stop anyway
  double stability = 0.10;
  double percentile = 50;   // of latency, that must hold still
  std::uint64_t count = 0;  // requests; 0: by windows
  Nanos limit{};            // for a count: the longest it may take
};

struct Load {
  std::uint32_t concurrency = 0;  // closed loop
  double rate = 0;                // open loop, a second
};

struct WindowFigures {
  double rps = 0;
  double latency_us = 0;  // at rules.percentile
};

struct Measured {
  Load load;
  std::uint32_t connections = 0;
  std::uint32_t streams = 0;
  bool stable = false;
  bool interrupted = false;
  double seconds = 0;
  Window total;
  std::vector<WindowFigures> windows;  // the ones in `total`
  std::uint64_t unanswered = 0;
  std::optional<ServerStatistics> statistics;  // what this measurement added
  std::optional<ProcessUsage> server_usage;    // cpu_s: during it; the rest: at its end
  double client_cpu_s = 0;
  double machine_cpu_s = 0;
};

// Relative distance of the farthest window from their mean; 0 for none.
double spread_of(const std::vector<WindowFigures>& windows, double WindowFigures::*figure);
bool is_stable(const std::vector<WindowFigures>& last, const MeasureRules& rules);

// `plan` holds everything but the counts and times, which come from `load` and
// `rules`. `control` and `server` may be absent. Stops early when `interrupted` is set.
Measured measure(SendPlan plan, const Load& load, const MeasureRules& rules, ControlClient* control,
                 std::optional<pid_t> server, const std::atomic<bool>& interrupted);

}  // namespace argosy::load
