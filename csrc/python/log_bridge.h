#pragma once

// Log lines of the core go to Python's handlers, so that one format and one file hold
// everything. A line is copied and posted; whoever logs never takes the interpreter lock.
//
// Thread: the sink any.

#include <memory>

#include "base/log.h"
#include "python/py_thread.h"

namespace argosy::python {

// Hands each record to argosy.logs.native_record. `thread` must outlive the sink's use:
// set the sink to null before it stops.
std::shared_ptr<LogSink> make_log_bridge(PyThread& thread);

}  // namespace argosy::python
