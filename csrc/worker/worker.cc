#include "worker/worker.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/log.h"
#include "worker/fit_outputs.h"

namespace argosy::worker {
namespace {

constexpr std::size_t kRemembered = 8u << 10;  // of standard error, for the crash report
constexpr std::size_t kLongestLine = 16u << 10;

TimePoint now() { return SteadyClock().now(); }

LogLevel level_of(std::uint8_t level) { return level <= 3 ? static_cast<LogLevel>(level) : LogLevel::info; }

}  // namespace

Result<std::shared_ptr<Worker>> Worker::start(WorkerSettings settings, std::shared_ptr<Door> door) {
  auto channel = Channel::create(settings.instance, settings.arena_bytes);
  if (!channel.ok()) return channel.status();
  auto wake = make_event();
  if (!wake.ok()) return wake.status();
  settings.launch.descriptors = (*channel)->descriptors();
  auto process = Process::start(settings.launch);
  if (!process.ok()) return process.status();
  std::shared_ptr<Worker> made(
      new Worker(std::move(settings), *channel, std::move(door), *std::move(process), *std::move(wake)));
  if (Status status = made->send_initialize(); !status.ok()) return status;
  return made;
}

Worker::Worker(WorkerSettings settings, std::shared_ptr<Channel> channel, std::shared_ptr<Door> door, Process process,
               Descriptor wake)
    : settings_(std::move(settings)),
      channel_(std::move(channel)),
      calls_(std::make_shared<OutgoingCalls>(channel_, std::move(door))),
      metrics_(settings_.metrics, calls_),
      readiness_(channel_, settings_.instance, settings_.ready_limit),
      in_flight_(channel_->memory(), channel_->flags(),
                 [calls = calls_](Handle handle) { calls->parent_left(handle); }),
      windows_(channel_->memory(), channel_->windows()),
      process_(std::move(process)),
      wake_(std::move(wake)),
      stop_at_(TimePoint::max().time_since_epoch().count()) {}

Worker::~Worker() { calls_->cancel_all(); }

Status Worker::send_initialize() {
  Writer message;
  message.number('I').align(4).number(static_cast<std::uint32_t>(settings_.initialize.size()));
  for (const auto& [key, value] : settings_.initialize) message.text(key).text(value);
  return channel_->send_work(message);
}

Status Worker::serve(const std::function<void()>& ready) {
  std::string output, errors;
  TimePoint finalized_by = TimePoint::max();
  std::array<pollfd, 5> watched{{{process_.death(), POLLIN, 0},
                                 {process_.output(), POLLIN, 0},
                                 {process_.errors(), POLLIN, 0},
                                 {channel_->event().get(), POLLIN, 0},
                                 {wake_.get(), POLLIN, 0}}};
  for (;;) {
    if (finalizing_ && finalized_by == TimePoint::max()) finalized_by = now() + settings_.finalize_limit;
    const TimePoint patience = std::min(finalized_by, TimePoint(Nanos(stop_at_.load())));
    int timeout = channel_->flush_returns() ? -1 : 1;
    if (const TimePoint due = readiness_.due(); due != TimePoint::max()) {
      readiness_.expire(now());
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(due - now()).count() + 1;
      const int look = static_cast<int>(std::clamp<std::int64_t>(left, 1, 1000));
      timeout = timeout < 0 ? look : std::min(timeout, look);
    }
    if (patience != TimePoint::max()) {
      if (now() >= patience) kill(finalizing_ ? "did not finalize in time" : "was still busy when the server stopped");
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(patience - now()).count() + 1;
      const int look = static_cast<int>(std::clamp<std::int64_t>(left, 20, 1000));
      timeout = timeout < 0 ? look : std::min(timeout, look);
    }
    if (poll(watched.data(), watched.size(), timeout) < 0) continue;
    if (watched[3].revents != 0) clear_event(channel_->event());
    if (watched[4].revents != 0) clear_event(wake_);
    if (watched[1].revents != 0) relay(process_.output(), output, false);
    if (watched[2].revents != 0) relay(process_.errors(), errors, true);
    // A closed pipe would wake the poll for ever.
    for (std::size_t i : {1, 2}) {
      if ((watched[i].revents & (POLLHUP | POLLERR)) != 0 && (watched[i].revents & POLLIN) == 0) watched[i].fd = -1;
    }
    if (Status status = read_calls(ready); !status.ok()) kill("broke the protocol: " + status.message());
    if (watched[0].revents != 0) {
      relay(process_.output(), output, false);
      relay(process_.errors(), errors, true);
      if (!output.empty()) log_line(output, false);
      if (!errors.empty()) log_line(errors, true);
      return ended();
    }
  }
}

Status Worker::ended() {
  const std::string how = process_.wait();
  Status why;
  std::string killed;
  {
    auto because = killed_because_.lock();
    killed = *because;
  }
  if (initialize_failed_) {
    why = *initialize_failed_;
  } else {
    std::string text = "model instance '" + settings_.instance + "': its worker process (" +
                       std::to_string(process_.id()) + ") " + (killed.empty() ? how : killed + " and was killed");
    if (!initialised_) text += " before the model was initialised";
    if (!last_errors_.empty()) text += "; its last words:\n" + last_errors_;
    why = unavailable(std::move(text));
  }
  *end_.lock() = why;
  dead_.store(true, std::memory_order_release);
  channel_->results().wake();
  calls_->cancel_all();
  metrics_.end();
  readiness_.close(why);
  in_flight_.close(why);
  return why;
}

void Worker::ask_ready(std::function<void(Status)> done) {
  if (!has_opinion_) return done({});
  readiness_.ask(std::move(done), now());
  signal_event(wake_);  // the keeper watches the time
}

void Worker::finalize() {
  finalizing_ = true;
  Writer message;
  message.number('X');
  (void)channel_->send_work(message);  // a full ring: the time limit ends it
  signal_event(wake_);
}

void Worker::stop_at(TimePoint deadline) {
  stop_at_ = deadline.time_since_epoch().count();
  signal_event(wake_);
}

void Worker::kill(std::string why) {
  {
    auto because = killed_because_.lock();
    if (because->empty()) *because = std::move(why);
  }
  if (!dead()) process_.kill();
}

void Worker::relay(int descriptor, std::string& partial, bool errors) {
  std::array<char, 8192> buffer;
  for (;;) {
    const auto count = read(descriptor, buffer.data(), buffer.size());
    if (count <= 0) return;
    std::string_view rest(buffer.data(), static_cast<std::size_t>(count));
    for (auto end = rest.find('\n'); end != std::string_view::npos; end = rest.find('\n')) {
      partial.append(rest.substr(0, end));
      log_line(partial, errors);
      partial.clear();
      rest.remove_prefix(end + 1);
    }
    partial.append(rest);
    if (partial.size() > kLongestLine) {
      log_line(partial, errors);
      partial.clear();
    }
  }
}

void Worker::log_line(std::string_view line, bool errors) {
  if (errors) {
    last_errors_.append(line).append("\n");
    if (last_errors_.size() > 2 * kRemembered) last_errors_.erase(0, last_errors_.size() - kRemembered);
  }
  log(LogLevel::info, std::string(line), {settings_.spec->name});
}

Status Worker::read_calls(const std::function<void()>& ready) {
  std::string record;
  for (;;) {
    const auto found = channel_->calls().pop(record);
    if (found == RingReader::Found::corrupt) return internal_error("its ring of calls is damaged");
    if (found == RingReader::Found::nothing) {
      return channel_->collect_returned() ? Status() : internal_error("it returned memory that it was not given");
    }
    if (Status status = read_call(record, ready); !status.ok()) return status;
  }
}

// 'I' u8 code, text, u8 has an opinion           initialised, or why not
// 'r' u8 last, u8 has response, to 4: u32 units of its window, u64 handle, response
// 'y' to 8: u64 handle                           it is to come again, in a later batch
// 'b' to 8: u64 id, i64 version, u32 parents, text model, to 8: parents, request
// 'c' to 8: u64 id                               a call is withdrawn
// 'm' to 8: u64 id, text verb, text arguments    load, unload
// 'q' to 8: u64 id, i64 version, text model      is it ready
// 'h' u8 ready, to 8: u64 id                     whether the model says that it is ready
// 'l' u8 level, text request id, text message
Status Worker::read_call(const std::string& record, const std::function<void()>& ready) {
  auto message = channel_->open(record);
  if (!message.ok()) return message.status();
  Reader from(message->view());
  auto exchange = channel_->exchange();
  const char kind = from.number<char>();
  switch (kind) {
    case 'I': {
      const auto code = from.number<std::uint8_t>();
      const std::string text(from.text());
      has_opinion_ = from.number<std::uint8_t>() != 0;
      if (code == 0) {
        initialised_ = true;
        ready();
      } else {
        initialize_failed_ =
            Status(code <= static_cast<std::uint8_t>(StatusCode::internal) ? static_cast<StatusCode>(code)
                                                                           : StatusCode::internal,
                   text);
      }
      break;
    }
    case 'r': {
      const bool last = from.number<std::uint8_t>() != 0;
      const bool has_response = from.number<std::uint8_t>() != 0;
      from.align(4);
      const auto units = from.number<std::uint32_t>();
      const auto handle = from.number<Handle>();
      std::optional<infer::Response> response;
      if (has_response) {
        auto read = read_response(from, *message, exchange);
        if (!read.ok()) return read.status();
        response = *std::move(read);
        if (!last && units != 0) response->window = windows_.ticket(handle, units);
      }
      in_flight_.respond(handle, std::move(response), last, settings_.spec->decoupled,
                         [&](const auto& request, auto& answer) { fit_outputs(*settings_.spec, request, answer); });
      break;
    }
    case 'y': {
      from.align(8);
      const auto handle = from.number<Handle>();
      if (from.failed()) break;
      if (auto request = in_flight_.take(handle)) calls_->again(*settings_.spec, std::move(request));
      break;
    }
    case 'b': {
      from.align(8);
      OutgoingCalls::Call call;
      call.id = from.number<std::uint64_t>();
      call.version = from.number<std::int64_t>();
      const auto parents = from.number<std::uint32_t>();
      call.model = from.text();
      from.align(8);
      for (std::uint32_t i = 0; i < parents && !from.failed(); ++i) call.parents.push_back(from.number<Handle>());
      auto request = read_request(from, *message, exchange, now());
      if (!request.ok()) return request.status();
      call.request = *std::move(request);
      calls_->start(std::move(call));
      break;
    }
    case 'c':
      from.align(8);
      calls_->cancel(from.number<std::uint64_t>());
      break;
    case 'm': {
      from.align(8);
      const auto id = from.number<std::uint64_t>();
      const std::string verb(from.text());
      const std::string arguments(from.text());
      if (!from.failed()) calls_->control(id, verb, arguments);
      break;
    }
    case 'q': {
      from.align(8);
      const auto id = from.number<std::uint64_t>();
      const auto version = from.number<std::int64_t>();
      const std::string model(from.text());
      if (!from.failed()) calls_->is_ready(id, model, version);
      break;
    }
    case 'h': {
      const bool ready = from.number<std::uint8_t>() != 0;
      from.align(8);
      const auto id = from.number<std::uint64_t>();
      if (!from.failed()) readiness_.answered(id, ready);
      break;
    }
    case 'l': {
      const LogLevel level = level_of(from.number<std::uint8_t>());
      const auto request_id = from.text();
      const auto text = from.text();
      if (logs(level)) log(level, text, {settings_.spec->name, request_id, {}});
      break;
    }
    default:
      if (!MetricDesk::knows(kind)) return internal_error("an unknown kind of message");
      metrics_.read(kind, from);
  }
  return from.failed() ? internal_error("a message is cut off") : Status();
}

Status Worker::execute(backend::Batch& batch) {
  const bool decoupled = settings_.spec->decoupled;
  const TimePoint begun = now();
  std::vector<Handle> handles(batch.requests.size(), 0);
  batch.answers.assign(batch.requests.size(), {});
  Writer message;
  message.number('E').align(4).number(std::uint32_t{0});
  std::uint32_t count = 0;
  (void)channel_->collect_returned();
  auto exchange = channel_->exchange();
  for (std::size_t i = 0; i < batch.requests.size(); ++i) {
    const auto handle = in_flight_.add(*batch.requests[i]);
    if (handle) {
      windows_.open(*handle);
    } else {
      batch.answers[i].status = resource_exhausted("model instance '" + settings_.instance + "' holds " +
                                                   std::to_string(kSlots) + " unanswered requests, its limit");
      if (dead()) batch.answers[i].status = *end_.lock();
      continue;
    }
    std::vector<std::uint64_t> lent;
    const std::size_t before = message.size();
    message.align(8);
    Status status = write_request(*batch.requests[i], *handle, begun, exchange, message, lent);
    if (!status.ok()) {
      channel_->take_back(lent);
      message.cut(before);
      in_flight_.settle(*handle);
      batch.answers[i].status = std::move(status);
      continue;
    }
    ++count;
    handles[i] = *handle;
  }
  if (count == 0) return {};
  message.patch(4, count);
  if (decoupled) {
    for (std::size_t i = 0; i < handles.size(); ++i) {
      if (handles[i] == 0) continue;
      // Given back: the worker died just now.
      if (auto refused = in_flight_.keep(handles[i], batch.requests[i])) batch.answers[i] = *std::move(refused);
    }
  }
  if (Status status = channel_->send_work(message); !status.ok()) {
    kill("could not be given a batch: " + status.message());
  }

  std::string record;
  const TimePoint limit = settings_.execute_limit > Nanos(0) ? begun + settings_.execute_limit : TimePoint::max();
  for (;;) {
    const auto found = channel_->results().pop(record);
    if (found == RingReader::Found::record) {
      Status status = read_results(record, batch, handles);
      if (!status.ok()) kill("broke the protocol: " + status.message());
      if (status.ok()) return {};
    } else if (found == RingReader::Found::corrupt) {
      kill("broke the protocol: its ring of results is damaged");
    } else if (now() >= limit) {
      kill("did not return from execute within " +
           std::to_string(std::chrono::duration<double>(settings_.execute_limit).count()) + " s");
    }
    if (dead()) break;
    channel_->results().wait(limit);
  }
  Status why;
  {
    auto end = end_.lock();
    why = *end;
  }
  for (std::size_t i = 0; i < batch.requests.size(); ++i) {
    if (!batch.requests[i] || handles[i] == 0) continue;
    in_flight_.settle(handles[i]);
    batch.answers[i].status = why;
  }
  return {};
}

// 'R' to 4: u32 count; for each, to 16: u64 handle, u8 what (0 a response, 1 answered later,
// 2 it is to come again), to 8: the response.
Status Worker::read_results(const std::string& record, backend::Batch& batch, std::vector<Handle>& handles) {
  auto message = channel_->open(record);
  if (!message.ok()) return message.status();
  Reader from(message->view());
  if (from.number<char>() != 'R') return internal_error("a result was expected");
  from.align(4);
  const auto count = from.number<std::uint32_t>();
  if (settings_.spec->decoupled) return {};
  auto exchange = channel_->exchange();
  std::size_t at = 0;
  for (std::uint32_t i = 0; i < count && !from.failed(); ++i) {
    from.align(16);
    const auto handle = from.number<Handle>();
    const auto what = from.number<std::uint8_t>();
    from.align(8);
    while (at < handles.size() && handles[at] != handle) ++at;
    if (at == handles.size()) return internal_error("a result for an unknown request");
    if (what == 2) {
      in_flight_.settle(handle);
      handles[at] = 0;
      calls_->again(*settings_.spec, std::move(batch.requests[at]));
      continue;
    }
    if (what == 1) {
      if (auto early = in_flight_.keep(handle, batch.requests[at])) {
        batch.answers[at] = *std::move(early);
        fit_outputs(*settings_.spec, *batch.requests[at], batch.answers[at]);
      }
      handles[at] = 0;
      continue;
    }
    auto response = read_response(from, *message, exchange);
    if (!response.ok()) return response.status();
    in_flight_.settle(handle);
    handles[at] = 0;
    fit_outputs(*settings_.spec, *batch.requests[at], *response);
    batch.answers[at] = *std::move(response);
  }
  if (from.failed()) return internal_error("a result is cut off");
  for (const Handle handle : handles) {
    if (handle != 0) return internal_error("a request without a result");
  }
  return {};
}

}  // namespace argosy::worker
