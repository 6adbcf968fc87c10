#include "load/sender.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <array>

#include "load/shared_tensors.h"

namespace argosy::load {
namespace {

using namespace std::chrono_literals;

constexpr Nanos kReopenPause = 50ms;
constexpr Nanos kDrainPatience = 5s;
// Open loop: more than this waiting is overload enough to be told as an error.
constexpr std::size_t kMostWaiting = 1'000'000;

}  // namespace

Sender::Sender(SendPlan plan, WindowBoard& board)
    : plan_(std::move(plan)),
      board_(board),
      check_(plan_.format, plan_.expected, plan_.shared != nullptr ? plan_.shared->reader() : nullptr),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      timer_(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)),
      stop_signal_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = &timer_;
  ::epoll_ctl(epoll_, EPOLL_CTL_ADD, timer_, &event);
  event.data.ptr = &stop_signal_;
  ::epoll_ctl(epoll_, EPOLL_CTL_ADD, stop_signal_, &event);
}

Sender::~Sender() {
  connections_.clear();
  ::close(stop_signal_);
  ::close(timer_);
  ::close(epoll_);
}

void Sender::stop() {
  stopping_.store(true, std::memory_order_relaxed);
  ::eventfd_write(stop_signal_, 1);
}

void Sender::add_connections() {
  for (std::uint32_t i = 0; i < plan_.connections; ++i) {
    auto& connection = connections_.emplace_back(
        plan_.format == Format::grpc ? make_grpc_connection(*this, plan_.authority) : make_http_connection(*this));
    connection->slot = i;
    lost_slots_.push_back(plan_.streams);  // all lost: reopen_lost opens it like any other
    opened_.push_back(TimePoint::min());
  }
}

void Sender::reopen_lost(TimePoint now) {
  for (auto& connection : connections_) {
    const auto slot = connection->slot;
    if (lost_slots_[slot] < plan_.streams) continue;
    if (connection->is_open()) connection->fail(unavailable("the server takes no more on this connection"));
    if (opened_[slot] != TimePoint::min() && now - opened_[slot] < kReopenPause) continue;
    opened_[slot] = now;
    if (auto status = connection->open(epoll_, plan_.address); !status.ok()) {
      current_.add_error(status.message());
      continue;
    }
    for (; lost_slots_[slot] > 0; --lost_slots_[slot]) free_slots_.push_back(connection.get());
  }
}

bool Sender::send_one(TimePoint due) {
  while (!free_slots_.empty()) {
    Connection* connection = free_slots_.front();
    free_slots_.pop_front();
    if (!connection->takes_more()) {
      ++lost_slots_[connection->slot];
      continue;
    }
    if (free_tags_.empty()) {
      free_tags_.push_back(static_cast<std::uint32_t>(in_flight_.size()));
      in_flight_.emplace_back();
    }
    const std::uint32_t tag = free_tags_.back();
    free_tags_.pop_back();
    const auto which = static_cast<std::uint32_t>(sent_++ % plan_.exchanges.size());
    in_flight_[tag] = {due, which};
    connection->begin(plan_.exchanges[which], tag, check_.likely(which));
    if (!connection->queued_for_flush) {
      connection->queued_for_flush = true;
      to_flush_.push_back(connection);
    }
    return true;
  }
  return false;
}

void Sender::send_due(TimePoint now) {
  if (stopping_.load(std::memory_order_relaxed)) return;
  if (!arrivals_) {
    while (!finished_sending() && send_one(now)) {}
    return;
  }
  for (; arrivals_->next() <= now && !(plan_.budget != 0 && sent_ + waiting_.size() >= plan_.budget);
       arrivals_->advance()) {
    if (waiting_.size() < kMostWaiting) {
      waiting_.push_back(arrivals_->next());
    } else {
      current_.add_error("not sent: over a million requests were already waiting to be sent");
    }
  }
  while (!waiting_.empty() && send_one(waiting_.front())) waiting_.pop_front();
}

void Sender::on_outcome(Connection& from, std::uint64_t tag, const Outcome& outcome) {
  const TimePoint now = clock_.now();
  turn_windows(now);
  const InFlight sent = in_flight_[tag];
  free_tags_.push_back(static_cast<std::uint32_t>(tag));
  ++answered_;
  Status status = outcome.status;
  if (status.ok()) status = check_.check(sent.exchange, outcome.body, outcome.header_length);
  if (status.ok()) {
    current_.latency.record(static_cast<std::uint64_t>((now - sent.due).count()));
  } else {
    current_.add_error(status.message());
  }
  if (from.takes_more()) {
    free_slots_.push_back(&from);
    send_due(now);
  } else {
    ++lost_slots_[from.slot];
  }
}

void Sender::turn_windows(TimePoint now) {
  while (now >= boundary_) {
    board_.hand_in(window_index_++, current_);
    current_ = Window();
    boundary_ += plan_.window;
  }
}

void Sender::arm_timer() {
  TimePoint next = boundary_;
  if (arrivals_ && !finished_sending() && waiting_.empty()) next = std::min(next, arrivals_->next());
  if (next == armed_) return;
  armed_ = next;
  const auto ns = next.time_since_epoch().count();
  itimerspec when{};
  when.it_value.tv_sec = ns / 1'000'000'000;
  when.it_value.tv_nsec = ns % 1'000'000'000;
  ::timerfd_settime(timer_, TFD_TIMER_ABSTIME, &when, nullptr);
}

void Sender::flush_all() {
  // Sending can fail and begin others elsewhere: take what is listed now, turn by turn.
  for (std::size_t i = 0; i < to_flush_.size(); ++i) {
    to_flush_[i]->queued_for_flush = false;
    to_flush_[i]->flush();
  }
  to_flush_.clear();
}

void Sender::run() {
  boundary_ = plan_.start + plan_.warm_up;
  if (plan_.rate > 0) arrivals_.emplace(plan_.rate, plan_.poisson, plan_.seed, plan_.start);
  add_connections();
  std::array<epoll_event, 256> events;
  while (!stopping_.load(std::memory_order_relaxed) && !(finished_sending() && answered_ == sent_)) {
    const TimePoint now = clock_.now();
    turn_windows(now);
    reopen_lost(now);
    send_due(now);
    flush_all();
    arm_timer();
    // 10 ms bounds how late a lost connection is tried again; the timer does the rest.
    const bool any_lost = free_slots_.empty() && answered_ == sent_;
    const int count = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), any_lost ? 10 : 1000);
    for (int i = 0; i < count; ++i) {
      void* const source = events[static_cast<std::size_t>(i)].data.ptr;
      if (source == &stop_signal_) continue;
      if (source == &timer_) {
        std::uint64_t fired = 0;
        [[maybe_unused]] const ssize_t got = ::read(timer_, &fired, sizeof fired);
        armed_ = TimePoint{};
        continue;
      }
      static_cast<Connection*>(source)->on_events(events[static_cast<std::size_t>(i)].events);
    }
  }
  stopping_.store(true, std::memory_order_relaxed);
  board_.hand_in(window_index_++, current_);
  drain();
  board_.finished();
}

void Sender::drain() {
  const TimePoint give_up = clock_.now() + kDrainPatience;
  boundary_ = TimePoint::max();
  std::array<epoll_event, 256> events;
  while (answered_ < sent_ && clock_.now() < give_up) {
    flush_all();
    const int count = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), 100);
    for (int i = 0; i < count; ++i) {
      void* const source = events[static_cast<std::size_t>(i)].data.ptr;
      if (source == &stop_signal_ || source == &timer_) {
        std::uint64_t value = 0;
        [[maybe_unused]] const ssize_t got = ::read(source == &timer_ ? timer_ : stop_signal_, &value, sizeof value);
        continue;
      }
      static_cast<Connection*>(source)->on_events(events[static_cast<std::size_t>(i)].events);
    }
  }
  unanswered_ = sent_ - answered_;
}

}  // namespace argosy::load
