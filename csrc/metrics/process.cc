#include "metrics/process.h"

#include <dirent.h>
#include <unistd.h>

#include <fstream>
#include <optional>
#include <sstream>
#include <string>

namespace argosy::metrics {
namespace {

struct Ticks {
  std::uint64_t busy = 0, all = 0;
};

// "cpu user nice system idle iowait irq softirq steal ...": busy is all but idle and iowait.
std::optional<Ticks> machine_ticks() {
  std::ifstream file("/proc/stat");
  std::string word;
  if (!(file >> word) || word != "cpu") return std::nullopt;
  Ticks ticks;
  for (int field = 0; field < 8; ++field) {
    std::uint64_t count = 0;
    if (!(file >> count)) return std::nullopt;
    ticks.all += count;
    if (field != 3 && field != 4) ticks.busy += count;
  }
  return ticks;
}

// Bytes, of a "Name:   123 kB" line.
std::optional<std::uint64_t> kilobytes_line(const char* path, std::string_view name) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    if (line.compare(0, name.size(), name) != 0) continue;
    std::uint64_t kilobytes = 0;
    if (std::istringstream(line.substr(name.size())) >> kilobytes) return kilobytes * 1024;
  }
  return std::nullopt;
}

struct OwnStat {
  double cpu_seconds = 0, start_after_boot = 0;
  std::uint64_t threads = 0;
};

std::optional<OwnStat> own_stat() {
  std::ifstream file("/proc/self/stat");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  const auto end_of_name = text.rfind(')');  // the name itself may hold anything
  if (end_of_name == std::string::npos) return std::nullopt;
  std::istringstream fields(text.substr(end_of_name + 1));
  std::string skipped;
  std::uint64_t user = 0, system = 0, threads = 0, start = 0;
  for (int field = 3; field <= 22; ++field) {
    if (field == 14) {
      fields >> user;
    } else if (field == 15) {
      fields >> system;
    } else if (field == 20) {
      fields >> threads;
    } else if (field == 22) {
      fields >> start;
    } else {
      fields >> skipped;
    }
  }
  if (!fields) return std::nullopt;
  const auto per_second = static_cast<double>(sysconf(_SC_CLK_TCK));
  return OwnStat{static_cast<double>(user + system) / per_second, static_cast<double>(start) / per_second, threads};
}

std::optional<std::uint64_t> open_descriptors() {
  DIR* folder = opendir("/proc/self/fd");
  if (!folder) return std::nullopt;
  std::uint64_t count = 0;
  while (const dirent* entry = readdir(folder)) count += entry->d_name[0] != '.';
  closedir(folder);
  return count == 0 ? 0 : count - 1;  // without the one that reads
}

std::optional<double> boot_time() {
  std::ifstream file("/proc/stat");
  std::string line;
  while (std::getline(file, line)) {
    double seconds = 0;
    if (line.compare(0, 6, "btime ") == 0 && std::istringstream(line.substr(6)) >> seconds) return seconds;
  }
  return std::nullopt;
}

}  // namespace

ProcessSource::ProcessSource() {
  if (const auto ticks = machine_ticks()) *last_.lock() = {ticks->busy, ticks->all, 0};
}

void ProcessSource::collect(Page& page) const {
  if (const auto ticks = machine_ticks()) {
    auto last = last_.lock();
    if (ticks->all > last->all) {
      const double busy = static_cast<double>(ticks->busy) - static_cast<double>(last->busy);
      *last = {ticks->busy, ticks->all, busy / static_cast<double>(ticks->all - last->all)};
    }
    page.add({"nv_cpu_utilization", Kind::gauge,
              "Share of the machine's CPU time that was busy since the previous scrape, 0.0 to 1.0"},
             {}, last->utilization);
  }
  const auto total = kilobytes_line("/proc/meminfo", "MemTotal:");
  const auto available = kilobytes_line("/proc/meminfo", "MemAvailable:");
  if (total) {
    page.add({"nv_cpu_memory_total_bytes", Kind::gauge, "Memory of the machine, in bytes"}, {}, *total);
  }
  if (total && available) {
    page.add({"nv_cpu_memory_used_bytes", Kind::gauge, "Memory of the machine that is not available, in bytes"}, {},
             *total - *available);
  }
  if (const auto own = own_stat()) {
    page.add({"process_cpu_seconds_total", Kind::counter, "User and system CPU time of this process, in seconds"}, {},
             own->cpu_seconds);
    page.add({"process_threads", Kind::gauge, "Threads of this process"}, {}, own->threads);
    if (const auto boot = boot_time()) {
      page.add({"process_start_time_seconds", Kind::gauge, "Start of this process, in seconds since 1970"}, {},
               *boot + own->start_after_boot);
    }
  }
  if (const auto resident = kilobytes_line("/proc/self/status", "VmRSS:")) {
    page.add({"process_resident_memory_bytes", Kind::gauge, "Resident memory of this process, in bytes"}, {},
             *resident);
  }
  if (const auto open = open_descriptors()) {
    page.add({"process_open_fds", Kind::gauge, "Open file descriptors of this process"}, {}, *open);
  }
}

}  // namespace argosy::metrics
