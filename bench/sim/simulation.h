#pragma once

// Simulation: one model's queue under virtual time: the very policy classes of the
// server between a model of the machine.
//
// The machine: `cores` shared fairly by one I/O thread (work per request on its way in
// and out), one client thread (closed loops on the same machine) and the instances
// (batch_us + row_us for each row). A sleeping instance needs wake_us to start.
//
// With a depth the instances compute on a device each, which runs one batch after another
// beside the cores; an instance's own work is to assemble a batch (assemble_us), and it
// takes another while fewer than `depth` are under way, as engine::DeviceDrive does.
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
  std::size_t depth = 0;              // batches under way on a device; 0: no device
  double assemble_us = 20;            // of a batch for a device
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
