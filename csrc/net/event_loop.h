#pragma once

// EventLoop: one thread that waits for descriptors, timers and posted tasks.
//
// What a loop's objects want done once per round (writing, above all) they ask for with
// at_round_end(). Descriptors are edge-triggered and registered once: nothing on a
// request's way calls epoll_ctl. An object that the current round may still mention
// is handed to destroy_later().
//
// Thread: post() and stop() any; what takes an IoToken is the loop's own thread only.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/time.h"
#include "net/io_token.h"
#include "net/mailbox.h"
#include "net/socket.h"

namespace argosy::net {

class EventLoop;

class ReadyHandler {
 public:
  virtual ~ReadyHandler() = default;
  virtual void on_ready(const IoToken& io, std::uint32_t epoll_events) = 0;
};

class RoundEnd {
 public:
  virtual void at_round_end(const IoToken& io) = 0;

 protected:
  ~RoundEnd() = default;

 private:
  friend class EventLoop;
  bool asked_ = false;
};

// Calls back once at or after its time. Setting a later time costs nothing: the loop
// looks again when the earlier one comes. Belongs to the loop's thread, its destructor
// included.
class Timer {
 public:
  using Callback = std::function<void(const IoToken&)>;
  Timer(EventLoop& loop, Callback callback) : loop_(loop), callback_(std::move(callback)) {}
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  void set(const IoToken& io, TimePoint when);
  void clear(const IoToken&) { when_ = TimePoint::max(); }
  bool is_set() const { return when_ != TimePoint::max(); }

 private:
  friend class EventLoop;
  EventLoop& loop_;
  Callback callback_;
  TimePoint when_ = TimePoint::max();
  TimePoint queued_at_ = TimePoint::max();  // max: not in the loop's queue
  std::multimap<TimePoint, Timer*>::iterator place_;
};

enum class Trigger : std::uint8_t { edge_both, level_read };

class EventLoop {
 public:
  // `clock` outlives the loop.
  static Result<std::unique_ptr<EventLoop>> create(const Clock& clock);
  ~EventLoop();  // stop()

  // `call` runs several times a round: when its events, its posted tasks, its writes are
  // done, so whatever these began is heard of before the loop does something else. Before
  // start().
  void after_steps(std::function<void()> call) { after_step_ = std::move(call); }

  Status start(const std::string& thread_name);

  // Runs what was posted before, then ends and joins the thread. Idempotent. What its
  // watchers own must be gone by then (their last chance is a posted task).
  void stop();

  void post(std::unique_ptr<Posted> task) { mailbox_->post(std::move(task)); }
  template <class F>
  requires std::is_invocable_v<F&, const IoToken&>
  void post(F task) { mailbox_->post(std::move(task)); }
  // For those who may outlive the loop.
  const std::shared_ptr<Mailbox>& mailbox() const { return mailbox_; }

  // Posts `call` and waits until it has run. From another thread, and only while the
  // loop runs.
  void run_there(const std::function<void(const IoToken&)>& call);

  // The time this round began.
  TimePoint now(const IoToken&) const { return now_; }
  const Clock& clock() const { return clock_; }

  Status watch(const IoToken&, int fd, ReadyHandler& handler, Trigger trigger);
  void unwatch(const IoToken&, int fd);

  // Once, when this round's events are handled; asked for while such calls run: in the
  // next round, which then does not wait.
  void at_round_end(const IoToken&, RoundEnd& who);
  void forget_round_end(const IoToken&, RoundEnd& who);

  void destroy_later(const IoToken&, std::shared_ptr<void> object) { dying_.push_back(std::move(object)); }

 private:
  friend class Timer;
  EventLoop(const Clock& clock, Descriptor epoll, std::shared_ptr<Mailbox> mailbox);

  void run();
  int wait_ms() const;
  void run_timers();
  void run_round_end();
  void bury();

  const Clock& clock_;
  const IoToken io_;
  Descriptor epoll_;
  std::shared_ptr<Mailbox> mailbox_;
  std::multimap<TimePoint, Timer*> timers_;
  std::vector<RoundEnd*> round_end_;
  std::vector<RoundEnd*> running_round_end_;
  std::function<void()> after_step_ = [] {};
  std::vector<std::shared_ptr<void>> dying_;
  TimePoint now_{};
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace argosy::net
