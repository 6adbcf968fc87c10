#pragma once

// Arrivals: when requests come, as a sequence of moments in microseconds. Open loops
// only; a closed loop has no moments of its own, the simulation makes them.
//
// Thread: one.

#include <string>
#include <vector>

namespace argosy::sim {

// `count` moments with exponential gaps.
std::vector<double> poisson(double per_second, std::size_t count, unsigned seed);

// Bursts of `burst` at one moment, with exponential gaps between bursts.
std::vector<double> bursty(double per_second, std::size_t burst, std::size_t count, unsigned seed);

// One moment a line, in microseconds, ascending; empty when the file cannot be read.
std::vector<double> replayed(const std::string& path);

}  // namespace argosy::sim
