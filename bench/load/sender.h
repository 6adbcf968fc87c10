#pragma once

// Sender: one thread that keeps requests in flight over its own connections and files
// the answers into windows.
//
// Closed loop: every slot of every connection always has one request out. Open loop:
// requests are due at Arrivals' times; one that finds no free slot waits in line, and
// its latency counts from when it was due, so a slow server cannot hide behind the
// requests it kept from being sent.
//
// Thread: run() is the thread; stop() any.

#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "load/answer_check.h"
#include "load/arrivals.h"
#include "load/connection.h"
#include "load/window.h"

namespace argosy::load {

class SharedTensors;

struct SendPlan {
  Format format = Format::grpc;
  std::string authority;
  Address address;
  std::vector<Exchange> exchanges;                   // sent in turn
  std::vector<std::optional<std::string>> expected;  // one for each exchange
  const SharedTensors* shared = nullptr;             // outlives the senders; null: answers carry their outputs

  std::uint32_t connections = 1;
  std::uint32_t streams = 1;  // requests in flight on a connection; 1 for HTTP
  double rate = 0;            // a second; 0: closed loop
  bool poisson = true;
  std::uint64_t seed = 1;
  std::uint64_t budget = 0;  // requests in all; 0: until stopped

  TimePoint start;  // the warm-up begins
  Nanos warm_up{};
  Nanos window{};
};

class Sender final : private OutcomeListener {
 public:
  Sender(SendPlan plan, WindowBoard& board);
  ~Sender() override;

  void run();
  void stop();

  std::uint64_t unanswered() const { return unanswered_; }  // after run(): sent, and no answer within 5 s of the stop

 private:
  struct InFlight {
    TimePoint due;
    std::uint32_t exchange = 0;
  };

  void on_outcome(Connection& from, std::uint64_t tag, const Outcome& outcome) override;
  void add_connections();
  void reopen_lost(TimePoint now);
  void send_due(TimePoint now);
  bool send_one(TimePoint due);
  void turn_windows(TimePoint now);
  void arm_timer();
  void flush_all();
  void drain();
  bool finished_sending() const { return plan_.budget != 0 && sent_ >= plan_.budget; }

  const SendPlan plan_;
  WindowBoard& board_;
  AnswerCheck check_;
  SteadyClock clock_;
  int epoll_ = -1;
  int timer_ = -1;
  int stop_signal_ = -1;
  std::atomic<bool> stopping_{false};  // only this flag crosses threads; the eventfd orders it

  std::vector<std::unique_ptr<Connection>> connections_;
  std::vector<std::uint32_t> lost_slots_;  // of each closed connection
  std::vector<TimePoint> opened_;
  std::deque<Connection*> free_slots_;
  std::vector<Connection*> to_flush_;

  std::vector<InFlight> in_flight_;  // by tag
  std::vector<std::uint32_t> free_tags_;
  std::deque<TimePoint> waiting_;  // open loop: due, and no slot free
  std::optional<Arrivals> arrivals_;

  Window current_;
  std::size_t window_index_ = 0;
  TimePoint boundary_;
  TimePoint armed_{};
  std::uint64_t sent_ = 0;
  std::uint64_t answered_ = 0;
  std::uint64_t unanswered_ = 0;
};

}  // namespace argosy::load
