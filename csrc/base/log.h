#pragma once

// log: lines for people, handed to one sink that the process sets. Format, file and
// JSON are the sink's business; until one is set, lines go to standard error.
//
// Nothing is rate-limited or dropped. The hot path logs failures only.
//
// Thread: any. A sink is called without a lock, by several threads at once.

#include <chrono>
#include <cstdint>
#include <memory>
#include <source_location>
#include <string>
#include <string_view>

namespace argosy {

enum class LogLevel : std::uint8_t { error, warning, info, verbose };

// What a line is about; views must live until log() returns.
struct LogAbout {
  std::string_view model;
  std::string_view request_id;
  std::string_view trace_id;
};

struct LogRecord {
  LogLevel level = LogLevel::info;
  std::chrono::system_clock::time_point when;
  std::string_view file;  // its last component
  std::uint32_t line = 0;
  std::string_view message;
  LogAbout about;
};

class LogSink {
 public:
  virtual ~LogSink() = default;
  virtual void write(const LogRecord& record) = 0;
};

void set_log_sink(std::shared_ptr<LogSink> sink);  // null: standard error again
void enable_log(LogLevel level, bool on);          // at first: all but verbose
bool logs(LogLevel level);

void log(LogLevel level, std::string_view message, LogAbout about = {},
         std::source_location where = std::source_location::current());

// "I0520 20:03:25.829575 3355 file.cc:441] message [model m, request 7, trace 4bf9]"
std::string log_line(const LogRecord& record);

}  // namespace argosy
