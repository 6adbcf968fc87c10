#pragma once

// CPU time and memory of a server on this machine, with its child processes, and of
// the whole machine, read from /proc.
//
// Time of children that have ended is what their parent has waited for (cutime,
// cstime). Ticks are 10 ms: measure over a second or more.
//
// Thread: any.

#include <sys/types.h>
#include <cstdint>
#include <optional>
#include <string>

namespace argosy::load {

struct ProcessUsage {
  double cpu_s = 0;
  std::uint64_t rss_bytes = 0;
  int processes = 0;
  int threads = 0;
};

std::optional<ProcessUsage> usage_of_tree(pid_t root);  // none: no such process
std::optional<pid_t> listener_of_port(std::uint16_t port);
double machine_cpu_s();  // all cores, everything but idle and iowait
double own_cpu_s();

struct Machine {
  std::string cpu;
  std::string kernel;
  int cores = 0;
};
Machine this_machine();

}  // namespace argosy::load
