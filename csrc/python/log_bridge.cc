#include "python/log_bridge.h"

#include <chrono>
#include <string>

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

class LogBridge final : public LogSink {
 public:
  explicit LogBridge(PyThread& thread) : thread_(thread) {}

  void write(const LogRecord& record) override {
    const double when = std::chrono::duration<double>(record.when.time_since_epoch()).count();
    thread_.post([when, level = level_name(record.level), file = std::string(record.file), line = record.line,
                  message = std::string(record.message), model = std::string(record.about.model),
                  request = std::string(record.about.request_id),
                  trace = std::string(record.about.trace_id)](const GilHeld&) {
      try {
        py::module_::import("argosy.logs")
            .attr("native_record")(level, when, file, line, message, model, request, trace);
      } catch (py::error_already_set& error) {
        error.discard_as_unraisable("argosy log line");
      }
    });
  }

 private:
  PyThread& thread_;
};

}  // namespace

std::shared_ptr<LogSink> make_log_bridge(PyThread& thread) { return std::make_shared<LogBridge>(thread); }

}  // namespace argosy::python
