#include "python/log_bridge.h"

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "base/guarded.h"
#include "base/log.h"

namespace argosy::python {
namespace py = pybind11;

namespace {

const char* level_name(LogLevel level) {
  switch (level) {
    case LogLevel::error: return "error";
    case LogLevel::warning: return "warning";
    case LogLevel::info: return "info";
    case LogLevel::verbose: return "verbose";
  }
  return "info";
}

// Never destroyed: threads may log at exit.
Guarded<std::vector<std::shared_ptr<LogSink>>>& open_bridges() {
  static auto* kept = new Guarded<std::vector<std::shared_ptr<LogSink>>>();
  return *kept;
}

}  // namespace

class LogBridge::Sink final : public LogSink {
 public:
  explicit Sink(PyThread& thread) : thread_(&thread) {}

  void write(const LogRecord& record) override {
    const double when = std::chrono::duration<double>(record.when.time_since_epoch()).count();
    PyThread::Task task = [when, level = level_name(record.level), file = std::string(record.file), line = record.line,
                           message = std::string(record.message), model = std::string(record.about.model),
                           request = std::string(record.about.request_id),
                           trace = std::string(record.about.trace_id)](const GilHeld&) {
      try {
        py::module_::import("argosy.logs")
            .attr("native_record")(level, when, file, line, message, model, request, trace);
      } catch (py::error_already_set& error) {
        error.discard_as_unraisable("argosy log line");
      }
    };
    auto thread = thread_.lock();
    if (*thread != nullptr) (*thread)->post(std::move(task));
  }

  void close() { *thread_.lock() = nullptr; }

 private:
  Guarded<PyThread*> thread_;
};

LogBridge::LogBridge(PyThread& thread) : sink_(std::make_shared<Sink>(thread)) {
  auto open = open_bridges().lock();
  open->push_back(sink_);
  set_log_sink(sink_);
}

void LogBridge::close() {
  {
    auto open = open_bridges().lock();
    if (std::erase(*open, sink_) > 0) set_log_sink(open->empty() ? nullptr : open->back());
  }
  sink_->close();
}

}  // namespace argosy::python
