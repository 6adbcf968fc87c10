#include "worker/group.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <optional>
#include <string_view>

namespace argosy::worker {
namespace {

constexpr std::size_t kMostMembers = 512;  // little enough for any thread's stack
constexpr int kMostPasses = 100;

int open_for_reading(const char* path, int flags) { return open(path, O_RDONLY | O_CLOEXEC | flags); }

// "python -c 'from multiprocessing.resource_tracker import main;main(5)'", as those of other libraries.
bool is_tracker(pid_t process) {
  char path[32] = "/proc/";
  char* const end = std::to_chars(path + 6, path + 20, process).ptr;
  constexpr std::string_view kWords = "/cmdline";
  std::copy(kWords.begin(), kWords.end(), end);
  const int file = open_for_reading(path, 0);
  if (file < 0) return false;
  std::array<char, 1024> text;
  const auto size = read(file, text.data(), text.size());
  close(file);
  std::string_view rest(text.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
  while (!rest.empty()) {
    const std::string_view word = rest.substr(0, rest.find('\0'));
    if (word.starts_with("from ") && word.find("resource_tracker import main") != word.npos) return true;
    rest.remove_prefix(std::min(rest.size(), word.size() + 1));
  }
  return false;
}

class Ending {
 public:
  explicit Ending(pid_t group) : group_(group) {}

  // One look at every process. False: the processes cannot be seen, or are too many.
  bool pass() {
    const int directory = open_for_reading("/proc", O_DIRECTORY);
    if (directory < 0) return false;
    met_ = trackers_ = 0;
    alignas(dirent64) std::array<char, 2048> entries;
    ssize_t size = 0;
    bool room = true;
    while (room && (size = getdents64(directory, entries.data(), entries.size())) > 0) {
      for (ssize_t at = 0; room && at < size;) {
        const auto* const entry = reinterpret_cast<const dirent64*>(entries.data() + at);
        at += entry->d_reclen;
        if (const auto process = number(entry->d_name)) room = look_at(*process);
      }
    }
    close(directory);
    return room && size == 0;
  }

  int met() const { return met_; }  // in the last pass, for the first time
  int trackers() const { return trackers_; }

 private:
  static std::optional<pid_t> number(std::string_view name) {
    pid_t value = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), value);
    if (error != std::errc() || end != name.data() + name.size()) return {};
    return value;
  }

  bool look_at(pid_t process) {
    if (process == self_ || getpgid(process) != group_) return true;
    if (std::find(told_.begin(), told_.begin() + count_, process) != told_.begin() + count_) return true;
    // A descriptor first, and then again whose it is: the number may be another process's by now.
    const int held = static_cast<int>(syscall(SYS_pidfd_open, process, 0));
    if (held < 0 || getpgid(process) != group_) {
      if (held >= 0) close(held);
      return held >= 0 || errno == ESRCH;
    }
    const bool tracker = is_tracker(process);
    if (!tracker) syscall(SYS_pidfd_send_signal, held, SIGKILL, nullptr, 0);
    close(held);
    trackers_ += tracker;
    if (tracker) return true;
    ++met_;
    told_[count_++] = process;
    return count_ < told_.size();
  }

  const pid_t group_;
  const pid_t self_ = getpid();
  int met_ = 0, trackers_ = 0;
  std::size_t count_ = 0;
  std::array<pid_t, kMostMembers> told_;
};

}  // namespace

int end_group(pid_t group) {
  Ending ending(group);
  for (int pass = 0; pass < kMostPasses; ++pass) {
    if (!ending.pass()) break;
    // Whom one pass did not see was begun meanwhile; who has been killed begins nobody.
    if (ending.met() == 0) return ending.trackers();
  }
  kill(-group, SIGKILL);
  return 0;
}

}  // namespace argosy::worker
