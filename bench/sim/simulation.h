#pragma once

// Simulation: one model's queue under virtual time: the very policy classes of the
// server between a model of the machine.
//
// The machine: `cores` shared fairly by one I/O thread (work per request on its way in
// and out), one client thread (closed loops on the same machine) and the instances
// (batch_us + row_us for each row). A sleeping instance needs wake_us to start.
//
// Thread: one. The same machine, load and seed give the same result.

#include <cstdint>
#include <vector>

#include "model/spec.h"

namespace argosy::sim {

struct Machine {
  double cores = 2;
  std::size_t instances = 1;
  double batch_us = 40, row_us = 20;  // service time of a batch: batch_us + rows * row_us
  double in_us = 6, out_us = 4;       // I/O thread, per request
  double client_us = 0;               // client thread on the same cores, per answer
  double wake_us = 20;                // from a push to a sleeping instance's next()
};

struct Load {
  std::vector<double> moments;   // open loop; empty: a closed loop
  std::size_t concurrency = 64;  // closed loop
  std::size_t requests = 50'000;
};

struct Outcome {
  double per_second = 0, p50_us = 0, p99_us = 0, mean_batch = 0;
  std::size_t answered = 0, batches = 0;
};

Outcome simulate(const model::ModelSpec& spec, const Machine& machine, const Load& load);

}  // namespace argosy::sim
