#pragma once

// Process: one child process, started from a clean image (no fork of this program's
// threads and locks), with its output in pipes and a descriptor that tells its death.
//
// It leads a process group of its own: a Ctrl-C meant for the server does not reach it,
// and bury() reaches what it started. The destructor kills and buries.
//
// Thread: start() from the thread that will live as long as the child, because the
// child asks to be killed when that thread ends; kill() any; the rest the owner's.

#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/time.h"

namespace argosy::worker {

// A descriptor that is closed.
class Descriptor {
 public:
  explicit Descriptor(int value = -1) : value_(value) {}
  Descriptor(Descriptor&& other) noexcept : value_(std::exchange(other.value_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(value_, other.value_);
    return *this;
  }
  ~Descriptor();
  int get() const { return value_; }
  explicit operator bool() const { return value_ >= 0; }

 private:
  int value_;
};

Result<Descriptor> make_event();  // an eventfd, not blocking
void signal_event(const Descriptor& event);
void clear_event(const Descriptor& event);

struct Launch {
  std::vector<std::string> arguments;    // the first is the program's path
  std::vector<std::string> environment;  // "NAME=value", all of it
  std::vector<int> descriptors;          // become 3, 4, ... in the child; all others are closed
};

class Process {
 public:
  static Result<Process> start(const Launch& launch);

  Process(Process&&) noexcept = default;
  Process& operator=(Process&&) noexcept = default;
  ~Process();

  int id() const { return id_; }
  int death() const { return death_.get(); }    // readable when the child has ended
  int output() const { return output_.get(); }  // its standard output; not blocking
  int errors() const { return errors_.get(); }  // its standard error; not blocking

  void kill() const;

  // Blocks until it has ended. "exited with code 3", "was killed by signal 9 (Killed)".
  std::string wait() const;

  // Once it has ended, or will: ends what it started and left behind, and reaps. Waits for
  // resource trackers (worker/group.h), which end by themselves, for as long as `patience`.
  void bury(Nanos patience = Nanos(0));

 private:
  Process() = default;
  int id_ = -1;
  bool buried_ = false;
  Descriptor death_, output_, errors_;
};

}  // namespace argosy::worker
