#pragma once

// LogBridge: log lines of the core go to Python's handlers, so that one format and one
// file hold everything. A line is copied and posted; whoever logs never takes the
// interpreter lock. Of several in a process, one for each server, the newest is used.
//
// Thread: any.

#include <memory>

#include "python/py_thread.h"

namespace argosy::python {

class LogBridge {
 public:
  // Each record is handed to argosy.logs.native_record on `thread`.
  explicit LogBridge(PyThread& thread);
  ~LogBridge() { close(); }
  LogBridge(const LogBridge&) = delete;
  LogBridge& operator=(const LogBridge&) = delete;

  // Afterwards `thread` is left alone, also by whoever is logging now. Again is nothing.
  void close();

 private:
  class Sink;
  const std::shared_ptr<Sink> sink_;
};

}  // namespace argosy::python
