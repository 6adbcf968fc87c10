#include "worker/worker.h"

#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/log.h"

namespace argosy::worker {
namespace {

constexpr std::size_t kRemembered = 8u << 10;  // of standard error, for the crash report
constexpr std::size_t kLongestLine = 16u << 10;
constexpr Nanos kTrackerPatience = std::chrono::seconds(2);

}  // namespace

Result<std::shared_ptr<Worker>> Worker::start(WorkerSettings settings, std::shared_ptr<Door> door) {
  auto channel = Channel::create(settings.instance, settings.inputs, settings.output_bytes);
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
      turn_(channel_->calls()),
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
  bool reads = turn_.take();
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
    if (reads) {
      // Who makes one call often makes the next at once. Two need not look for it.
      const bool expects = std::exchange(called_, false) && !runner_looks_ &&
                           channel_->calls().stay_awake([&] { return runner_looks_.load(); });
      reads = expects || !turn_.give();
      if (reads) timeout = 0;
    }
    const int ripe = poll(watched.data(), watched.size(), timeout);
    reads = reads || turn_.take();
    if (ripe < 0) continue;
    if (watched[3].revents != 0) clear_event(channel_->event());
    if (watched[4].revents != 0) clear_event(wake_);
    if (watched[1].revents != 0) relay(process_.output(), output, false);
    if (watched[2].revents != 0) relay(process_.errors(), errors, true);
    // A closed pipe would wake the poll for ever.
    for (std::size_t i : {1, 2}) {
      if ((watched[i].revents & (POLLHUP | POLLERR)) != 0 && (watched[i].revents & POLLIN) == 0) watched[i].fd = -1;
    }
    if (reads) (void)read_calls(ready);
    if (watched[0].revents != 0) {
      if (!reads) {
        channel_->results().wake();
        while (!turn_.take()) sched_yield();
        (void)read_calls(ready);
      }
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
  channel_->end();
  calls_->cancel_all();
  metrics_.end();
  readiness_.close(why);
  in_flight_.close(why);
  // After all who wait have been told. A process that takes its place waits for nothing.
  process_.bury(finalizing_ ? kTrackerPatience : Nanos(0));
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

// The runner's look at what it waits for: results, and as long as it is awake anyway also
// what the model asks for meanwhile.
class Worker::Attention {
 public:
  explicit Attention(Worker& worker)
      : worker_(worker), results_(worker.channel_->results()), calls_(worker.channel_->calls()) {}
  ~Attention() { leave(); }

  // False: nothing came; leave() and sleep.
  bool look() {
    worker_.runner_looks_ = true;
    const bool stayed = results_.stay_awake([this] {
      reads_ = reads_ || worker_.turn_.take();
      return reads_ && !calls_.empty();
    });
    if (!stayed) return false;
    if (reads_ && worker_.read_calls({})) {
      worker_.called_ = false;
      return true;
    }
    return !results_.empty();
  }

  // From here on the keeper has to be woken for what the model asks for.
  void leave() {
    worker_.runner_looks_ = false;
    if (!std::exchange(reads_, false)) return;
    while (!worker_.turn_.give()) {
      if (!worker_.read_calls({})) return worker_.turn_.drop();  // nonsense: the process ends
    }
    if (worker_.turn_.overlooked()) signal_event(worker_.wake_);
  }

 private:
  Worker& worker_;
  RingReader& results_;
  RingReader& calls_;
  bool reads_ = false;
};

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
  Attention attention(*this);
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
    if (attention.look()) continue;
    attention.leave();
    channel_->results().doze(limit);
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

}  // namespace argosy::worker
