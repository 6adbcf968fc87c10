#include "worker/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "worker/group.h"

namespace argosy::worker {
namespace {

constexpr int kLookMillis = 5;  // at a resource tracker that has not ended yet

Status failed(const std::string& step, int error) { return internal_error(step + ": " + std::strerror(error)); }

struct Pipe {
  Descriptor read, write;
};

Result<Pipe> make_pipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return failed("pipe", errno);
  Pipe made{Descriptor(ends[0]), Descriptor(ends[1])};
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  return made;
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (const auto& text : texts) out.push_back(const_cast<char*>(text.c_str()));
  out.push_back(nullptr);
  return out;
}

}  // namespace

Descriptor::~Descriptor() {
  if (value_ >= 0) close(value_);
}

Result<Descriptor> make_event() {
  Descriptor event(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event) return failed("eventfd", errno);
  return event;
}

void signal_event(const Descriptor& event) {
  const std::uint64_t one = 1;
  (void)!write(event.get(), &one, sizeof one);
}

void clear_event(const Descriptor& event) {
  std::uint64_t count = 0;
  (void)!read(event.get(), &count, sizeof count);
}

Result<Process> Process::start(const Launch& launch) {
  auto output = make_pipe();
  if (!output.ok()) return output.status();
  auto errors = make_pipe();
  if (!errors.ok()) return errors.status();

  // High copies first: a target number may be the number of a source that comes later.
  const int first = 3, after = first + static_cast<int>(launch.descriptors.size());
  std::vector<Descriptor> sources;
  std::vector<std::pair<int, int>> moves{{output->write.get(), 1}, {errors->write.get(), 2}};
  for (std::size_t i = 0; i < launch.descriptors.size(); ++i) {
    moves.emplace_back(launch.descriptors[i], first + static_cast<int>(i));
  }
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  for (const auto& [from, to] : moves) {
    sources.emplace_back(fcntl(from, F_DUPFD_CLOEXEC, after + 16));
    posix_spawn_file_actions_adddup2(&actions, sources.back().get(), to);
  }
  posix_spawn_file_actions_addclosefrom_np(&actions, after);

  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  posix_spawnattr_setpgroup(&attributes, 0);
  sigset_t none, usual;
  sigemptyset(&none);
  sigemptyset(&usual);
  for (const int signal : {SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGCHLD}) sigaddset(&usual, signal);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &usual);

  Process made;
  const auto arguments = pointers(launch.arguments);
  const auto environment = pointers(launch.environment);
  pid_t id = -1;
  const int error = posix_spawnp(&id, arguments[0], &actions, &attributes, arguments.data(), environment.data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) return failed("cannot start '" + launch.arguments[0] + "'", error);
  made.id_ = id;
  made.output_ = std::move(output->read);
  made.errors_ = std::move(errors->read);
  made.death_ = Descriptor(static_cast<int>(syscall(SYS_pidfd_open, id, 0)));
  if (!made.death_) {
    const int why = errno;
    ::kill(id, SIGKILL);
    made.bury();
    return failed("pidfd_open", why);
  }
  return made;
}

Process::~Process() {
  if (!death_ || buried_) return;  // moved from, or nothing is left
  kill();
  bury();
}

void Process::kill() const {
  // Through the descriptor: the number may be another process's by now.
  syscall(SYS_pidfd_send_signal, death_.get(), SIGKILL, nullptr, 0);
}

std::string Process::wait() const {
  siginfo_t how{};
  // Not reaped: until then nobody else gets its number, which is its group's as well.
  while (waitid(P_PID, static_cast<id_t>(id_), &how, WEXITED | WNOWAIT) != 0 && errno == EINTR) {}
  if (how.si_code == CLD_EXITED) return "exited with code " + std::to_string(how.si_status);
  const char* name = strsignal(how.si_status);
  return "was killed by signal " + std::to_string(how.si_status) + " (" + (name != nullptr ? name : "?") + ")";
}

void Process::bury(Nanos patience) {
  wait();
  const SteadyClock clock;
  const TimePoint limit = clock.now() + patience;
  while (end_group(id_) > 0 && clock.now() < limit) poll(nullptr, 0, kLookMillis);
  // What it started is ours to reap where this process is the one that orphans come to.
  siginfo_t orphan{};
  while (waitid(P_PGID, static_cast<id_t>(id_), &orphan, WEXITED | WNOHANG) == 0 && orphan.si_pid != 0) {
    orphan.si_pid = 0;
  }
  siginfo_t how{};
  while (waitid(P_PID, static_cast<id_t>(id_), &how, WEXITED) != 0 && errno == EINTR) {}
  buried_ = true;
}

}  // namespace argosy::worker
