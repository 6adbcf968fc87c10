#include "net/event_loop.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <future>
#include <system_error>

namespace argosy::net {

Timer::~Timer() {
  if (queued_at_ != TimePoint::max()) loop_.timers_.erase(place_);
}

void Timer::set(const IoToken&, TimePoint when) {
  when_ = when;
  if (queued_at_ <= when) return;
  if (queued_at_ != TimePoint::max()) loop_.timers_.erase(place_);
  queued_at_ = when;
  place_ = loop_.timers_.emplace(when, this);
}

Result<std::unique_ptr<EventLoop>> EventLoop::create(const Clock& clock) {
  Descriptor epoll(::epoll_create1(EPOLL_CLOEXEC));
  Descriptor wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!epoll || !wake) return resource_exhausted("event loop: " + error_text(errno));
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  event.data.ptr = nullptr;  // the wake-up; edge-triggered, so nobody has to read it
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wake.get(), &event) != 0) {
    return internal_error("event loop: epoll_ctl: " + error_text(errno));
  }
  auto mailbox = std::make_shared<Mailbox>(std::move(wake));
  return std::unique_ptr<EventLoop>(new EventLoop(clock, std::move(epoll), std::move(mailbox)));
}

EventLoop::EventLoop(const Clock& clock, Descriptor epoll, std::shared_ptr<Mailbox> mailbox)
    : clock_(clock), epoll_(std::move(epoll)), mailbox_(std::move(mailbox)), now_(clock.now()) {}

EventLoop::~EventLoop() { stop(); }

Status EventLoop::start(const std::string& thread_name) {
  try {
    thread_ = std::thread([this] { run(); });
  } catch (const std::system_error& error) {
    return resource_exhausted("event loop: no thread: " + std::string(error.what()));
  }
  ::pthread_setname_np(thread_.native_handle(), thread_name.substr(0, 15).c_str());
  return {};
}

void EventLoop::stop() {
  if (thread_.joinable()) {
    post([this](const IoToken&) { stopping_ = true; });
    thread_.join();
  }
  mailbox_->close();
}

void EventLoop::run_there(const std::function<void(const IoToken&)>& call) {
  std::promise<void> ran;
  post([&](const IoToken& io) {
    call(io);
    ran.set_value();
  });
  ran.get_future().wait();
}

Status EventLoop::watch(const IoToken&, int fd, ReadyHandler& handler, Trigger trigger) {
  epoll_event event{};
  event.events = trigger == Trigger::edge_both ? EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET
                                               : EPOLLIN | EPOLLEXCLUSIVE;  // several loops may share the descriptor
  event.data.ptr = &handler;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    return resource_exhausted("epoll_ctl: " + error_text(errno));
  }
  return {};
}

void EventLoop::unwatch(const IoToken&, int fd) { ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr); }

void EventLoop::at_round_end(const IoToken&, RoundEnd& who) {
  if (who.asked_) return;
  who.asked_ = true;
  round_end_.push_back(&who);
}

void EventLoop::forget_round_end(const IoToken&, RoundEnd& who) {
  who.asked_ = false;
  std::replace(round_end_.begin(), round_end_.end(), &who, static_cast<RoundEnd*>(nullptr));
  std::replace(running_round_end_.begin(), running_round_end_.end(), &who, static_cast<RoundEnd*>(nullptr));
}

int EventLoop::wait_ms() const {
  if (!round_end_.empty() || stopping_) return 0;
  if (timers_.empty()) return -1;
  const auto left = timers_.begin()->first - clock_.now();
  if (left <= Nanos::zero()) return 0;
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(left).count();
  return static_cast<int>(std::min<std::int64_t>(ms, 60'000));
}

void EventLoop::run_timers() {
  while (!timers_.empty() && timers_.begin()->first <= now_) {
    Timer& timer = *timers_.begin()->second;
    timers_.erase(timers_.begin());
    timer.queued_at_ = TimePoint::max();
    if (timer.when_ > now_) {  // it was moved, or cleared
      if (timer.is_set()) timer.set(io_, timer.when_);
      continue;
    }
    timer.when_ = TimePoint::max();
    timer.callback_(io_);
  }
}

void EventLoop::run_round_end() {
  running_round_end_.swap(round_end_);
  for (std::size_t i = 0; i < running_round_end_.size(); ++i) {
    RoundEnd* const who = running_round_end_[i];
    if (who == nullptr) continue;
    who->asked_ = false;
    who->at_round_end(io_);
  }
  running_round_end_.clear();
}

void EventLoop::bury() {
  // A destructor may hand over further objects.
  while (!dying_.empty()) std::exchange(dying_, {}).clear();
}

void EventLoop::run() {
  std::array<epoll_event, 256> events;
  while (!stopping_) {
    int wait = wait_ms();
    if (wait != 0 && !mailbox_->fall_asleep()) wait = 0;
    const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), wait);
    mailbox_->wake_up();
    now_ = clock_.now();
    assert(count >= 0 || errno == EINTR);
    for (int i = 0; i < count; ++i) {
      if (events[i].data.ptr != nullptr)
        static_cast<ReadyHandler*>(events[i].data.ptr)->on_ready(io_, events[i].events);
    }
    after_step_();
    mailbox_->run_all(io_);
    after_step_();
    run_timers();
    run_round_end();
    after_step_();
    bury();
  }
  run_round_end();
  after_step_();
  bury();
}

}  // namespace argosy::net
