// What a worker says: its calls, read by whose turn it is, and its results, read by the runner.

#include <utility>

#include "base/log.h"
#include "worker/fit_outputs.h"
#include "worker/worker.h"

namespace argosy::worker {
namespace {

LogLevel level_of(std::uint8_t level) { return level <= 3 ? static_cast<LogLevel>(level) : LogLevel::info; }

}  // namespace

bool Worker::read_calls(const std::function<void()>& ready) {
  std::string record;
  Status status;
  bool any = false;
  auto found = RingReader::Found::record;
  while (status.ok() && (found = channel_->calls().pop(record)) == RingReader::Found::record) {
    any = true;
    status = read_call(record, ready);
  }
  if (found == RingReader::Found::corrupt) status = internal_error("its ring of calls is damaged");
  if (status.ok() && !channel_->collect_returned()) {
    status = internal_error("it returned memory that it was not given");
  }
  if (!status.ok()) kill("broke the protocol: " + status.message());
  return any && status.ok();
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
      if (initialised_) return internal_error("it was initialised a second time");
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
      called_ = true;
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
