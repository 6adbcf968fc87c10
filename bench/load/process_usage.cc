#include "load/process_usage.h"

#include <dirent.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <charconv>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <thread>
#include <vector>

namespace argosy::load {
namespace {

struct ProcessLine {
  pid_t parent = 0;
  double cpu_s = 0;
  std::uint64_t rss_bytes = 0;
  int threads = 0;
};

std::vector<pid_t> all_pids() {
  std::vector<pid_t> pids;
  DIR* folder = ::opendir("/proc");
  if (folder == nullptr) return pids;
  while (const dirent* entry = ::readdir(folder)) {
    pid_t pid = 0;
    const std::string name = entry->d_name;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (error == std::errc() && end == name.data() + name.size()) pids.push_back(pid);
  }
  ::closedir(folder);
  return pids;
}

std::optional<ProcessLine> read_process(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  // The command may hold spaces and parentheses: what counts follows the last one.
  const auto end = line.rfind(')');
  if (end == std::string::npos) return std::nullopt;
  std::istringstream rest(line.substr(end + 2));
  std::vector<std::string> fields;
  for (std::string field; rest >> field;) fields.push_back(field);
  if (fields.size() < 22) return std::nullopt;
  static const double kTick = static_cast<double>(::sysconf(_SC_CLK_TCK));
  ProcessLine process;
  process.parent = static_cast<pid_t>(std::stol(fields[1]));
  for (const std::size_t at : {11, 12, 13, 14}) process.cpu_s += std::stod(fields[at]) / kTick;
  process.threads = std::stoi(fields[17]);
  process.rss_bytes = std::stoull(fields[21]) * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return process;
}

std::set<std::string> listening_inodes(std::uint16_t port) {
  std::set<std::string> inodes;
  for (const char* table : {"/proc/net/tcp", "/proc/net/tcp6"}) {
    std::ifstream file(table);
    std::string line;
    std::getline(file, line);
    while (std::getline(file, line)) {
      std::istringstream fields(line);
      std::string number, local, remote, state, queues, timer, retransmits, uid, timeout, inode;
      fields >> number >> local >> remote >> state >> queues >> timer >> retransmits >> uid >> timeout >> inode;
      unsigned local_port = 0;
      const auto colon = local.rfind(':');
      if (colon == std::string::npos || state != "0A") continue;
      std::from_chars(local.data() + colon + 1, local.data() + local.size(), local_port, 16);
      if (local_port == port) inodes.insert("socket:[" + inode + "]");
    }
  }
  return inodes;
}

bool holds(pid_t pid, const std::set<std::string>& inodes) {
  const std::string path = "/proc/" + std::to_string(pid) + "/fd";
  DIR* folder = ::opendir(path.c_str());
  if (folder == nullptr) return false;
  bool found = false;
  while (const dirent* entry = ::readdir(folder)) {
    char target[64];
    const ssize_t size = ::readlink((path + "/" + entry->d_name).c_str(), target, sizeof target);
    if (size > 0 && inodes.contains(std::string(target, static_cast<std::size_t>(size)))) {
      found = true;
      break;
    }
  }
  ::closedir(folder);
  return found;
}

}  // namespace

std::optional<ProcessUsage> usage_of_tree(pid_t root) {
  std::map<pid_t, ProcessLine> processes;
  for (const pid_t pid : all_pids()) {
    if (auto process = read_process(pid)) processes.emplace(pid, *process);
  }
  if (!processes.contains(root)) return std::nullopt;
  ProcessUsage total;
  for (const auto& [pid, process] : processes) {
    pid_t ancestor = pid;
    while (ancestor != root && processes.contains(ancestor)) ancestor = processes[ancestor].parent;
    if (ancestor != root) continue;
    total.cpu_s += process.cpu_s;
    total.rss_bytes += process.rss_bytes;
    total.threads += process.threads;
    ++total.processes;
  }
  return total;
}

std::optional<pid_t> listener_of_port(std::uint16_t port) {
  const auto inodes = listening_inodes(port);
  if (inodes.empty()) return std::nullopt;
  std::optional<pid_t> lowest;  // the parent, where children inherited the socket
  for (const pid_t pid : all_pids()) {
    if ((!lowest || pid < *lowest) && holds(pid, inodes)) lowest = pid;
  }
  return lowest;
}

double machine_cpu_s() {
  std::ifstream file("/proc/stat");
  std::string word;
  double user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0;
  file >> word >> user >> nice >> system >> idle >> iowait >> irq >> softirq;
  return (user + nice + system + irq + softirq) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

double own_cpu_s() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

Machine this_machine() {
  Machine machine;
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) {
      machine.cpu = line.substr(std::min(line.find(':') + 2, line.size()));
      break;
    }
  }
  utsname system{};
  if (::uname(&system) == 0) machine.kernel = std::string(system.sysname) + " " + system.release;
  machine.cores = static_cast<int>(std::thread::hardware_concurrency());
  return machine;
}

}  // namespace argosy::load
