#include "base/log.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <ctime>

#include "base/guarded.h"

namespace argosy {
namespace {

Guarded<std::shared_ptr<LogSink>>& sink() {
  static auto* kept = new Guarded<std::shared_ptr<LogSink>>();  // never destroyed: threads may log at exit
  return *kept;
}

std::array<std::atomic<bool>, 4> enabled{true, true, true, false};

void append_about(std::string& line, std::string_view name, std::string_view value, bool& first) {
  if (value.empty()) return;
  line.append(first ? " [" : ", ").append(name).append(" ").append(value);
  first = false;
}

}  // namespace

void set_log_sink(std::shared_ptr<LogSink> next) {
  auto held = sink().lock();
  held->swap(next);  // the old one dies after the lock
}

// Relaxed: a line more or less around the change does not matter.
void enable_log(LogLevel level, bool on) {
  enabled[static_cast<std::size_t>(level)].store(on, std::memory_order_relaxed);
}
bool logs(LogLevel level) { return enabled[static_cast<std::size_t>(level)].load(std::memory_order_relaxed); }

void log(LogLevel level, std::string_view message, LogAbout about, std::source_location where) {
  if (!logs(level)) return;
  std::string_view file = where.file_name();
  file.remove_prefix(file.rfind('/') == std::string_view::npos ? 0 : file.rfind('/') + 1);
  const LogRecord record{level, std::chrono::system_clock::now(), file, where.line(), message, about};
  std::shared_ptr<LogSink> to;
  {
    auto held = sink().lock();
    to = *held;
  }
  if (to) {
    to->write(record);
    return;
  }
  const std::string line = log_line(record) + "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);
}

std::string log_line(const LogRecord& record) {
  const auto since = record.when.time_since_epoch();
  const std::time_t seconds = std::chrono::duration_cast<std::chrono::seconds>(since).count();
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(since).count() % 1'000'000;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  // An INFO letter for verbose lines too, as readers of such logs expect.
  constexpr std::array<char, 4> kLetters{'E', 'W', 'I', 'I'};
  std::array<char, 96> head{};
  const int size =
      std::snprintf(head.data(), head.size(), "%c%02d%02d %02d:%02d:%02d.%06d %ld ",
                    kLetters[static_cast<std::size_t>(record.level)], parts.tm_mon + 1, parts.tm_mday, parts.tm_hour,
                    parts.tm_min, parts.tm_sec, static_cast<int>(micros), ::syscall(SYS_gettid));
  std::string line(head.data(), static_cast<std::size_t>(size));
  line.append(record.file).append(":").append(std::to_string(record.line)).append("] ").append(record.message);
  bool first = true;
  append_about(line, "model", record.about.model, first);
  append_about(line, "request", record.about.request_id, first);
  append_about(line, "trace", record.about.trace_id, first);
  if (!first) line += "]";
  return line;
}

}  // namespace argosy
