#include "simulation.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>
#include <optional>
#include <utility>

#include "sched/make_policy.h"

namespace argosy::sim {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

TimePoint moment(double us) { return TimePoint(Nanos(std::llround(us * 1e3))); }
double micros(TimePoint t) {
  return t == TimePoint::max() ? kNever : static_cast<double>(t.time_since_epoch().count()) / 1e3;
}

// A thread that works through items one after another.
struct Work {
  enum class Kind { arrive, answer, think } kind;
  double sent;
  double left;
};
using Thread = std::deque<Work>;

struct Instance {
  std::vector<double> running;  // when its requests were sent; empty: idle
  double left = 0;              // of the batch
  double wakes = kNever;        // idle: when it asks the policy again
  bool told = false;            // a wake-up is on its way
};

class World {
 public:
  World(const model::ModelSpec& spec, const Machine& machine, const Load& load)
      : machine_(machine),
        load_(load),
        policy_(sched::make_policy(spec, machine.instances)),
        instances_(machine.instances) {}

  Outcome run() {
    const std::size_t requests = load_.moments.empty() ? load_.requests : load_.moments.size();
    if (load_.moments.empty()) {
      for (std::size_t i = 0; i < load_.concurrency; ++i) io_.push_back({Work::Kind::arrive, 0, machine_.in_us});
    }
    while (latencies_.size() < requests && step()) {}
    return outcome();
  }

 private:
  // Advances to the next event; false: nothing will ever happen again.
  bool step() {
    std::size_t active = (io_.empty() ? 0u : 1u) + (client_.empty() ? 0u : 1u);
    for (const Instance& i : instances_) active += i.running.empty() ? 0 : 1;
    const double rate = active == 0 ? 1 : std::min(1.0, machine_.cores / static_cast<double>(active));

    double until = sent_ < load_.moments.size() ? load_.moments[sent_] : kNever;
    if (!io_.empty()) until = std::min(until, now_ + io_.front().left / rate);
    if (!client_.empty()) until = std::min(until, now_ + client_.front().left / rate);
    for (const Instance& i : instances_) until = std::min(until, i.running.empty() ? i.wakes : now_ + i.left / rate);
    if (until == kNever) return false;

    const double done = std::max(0.0, until - now_) * rate;
    now_ = std::max(now_, until);
    if (!io_.empty()) io_.front().left -= done;
    if (!client_.empty()) client_.front().left -= done;
    for (Instance& i : instances_) i.left -= i.running.empty() ? 0 : done;

    for (; sent_ < load_.moments.size() && load_.moments[sent_] <= now_; ++sent_) {
      io_.push_back({Work::Kind::arrive, load_.moments[sent_], machine_.in_us});
    }
    finish(io_);
    finish(client_);
    for (std::size_t i = 0; i < instances_.size(); ++i) advance(i);
    return true;
  }

  void finish(Thread& thread) {
    constexpr double kDone = 1e-6;
    if (thread.empty() || thread.front().left > kDone) return;
    const Work work = thread.front();
    thread.pop_front();
    switch (work.kind) {
      case Work::Kind::arrive: push(work.sent); break;
      case Work::Kind::answer:
        latencies_.push_back(now_ - work.sent);
        if (load_.moments.empty()) client_.push_back({Work::Kind::think, 0, machine_.client_us});
        break;
      case Work::Kind::think: io_.push_back({Work::Kind::arrive, now_, machine_.in_us}); break;
    }
  }

  void push(double sent) {
    auto request = std::make_unique<infer::Request>();
    request->timings.received = moment(sent);
    sched::Pending item{std::move(request), 1, moment(now_)};
    if (!policy_->push(std::move(item), moment(now_)).ok()) return;
    // One sleeper is told per push, as the queue does it; those on their way come anyhow.
    for (Instance& i : instances_) {
      if (!i.running.empty() || i.told) continue;
      i.told = true;
      i.wakes = std::min(i.wakes, now_ + machine_.wake_us);
      return;
    }
  }

  void advance(std::size_t index) {
    constexpr double kDone = 1e-6;
    Instance& self = instances_[index];
    if (!self.running.empty()) {
      if (self.left > kDone) return;
      for (const double sent : self.running) io_.push_back({Work::Kind::answer, sent, machine_.out_us});
      self.running.clear();
    } else if (self.wakes > now_) {
      return;
    }
    self.told = false;
    self.wakes = kNever;
    auto decision = policy_->next(index, moment(now_));
    if (auto* wait = std::get_if<sched::WaitUntil>(&decision)) {
      self.wakes = std::max(micros(wait->when), std::nextafter(now_, kNever));
    } else if (auto* batch = std::get_if<sched::RunBatch>(&decision)) {
      std::uint32_t rows = 0;
      for (const auto& item : batch->items) {
        self.running.push_back(micros(item.request->timings.received));
        rows += item.rows;
      }
      self.left = machine_.batch_us + machine_.row_us * rows;
      ++batches_;
      batched_ += batch->items.size();
    }
  }

  Outcome outcome() {
    Outcome out;
    out.answered = latencies_.size();
    out.batches = batches_;
    if (latencies_.empty() || now_ <= 0) return out;
    out.per_second = static_cast<double>(latencies_.size()) / now_ * 1e6;
    out.mean_batch = static_cast<double>(batched_) / static_cast<double>(std::max<std::size_t>(1, batches_));
    std::sort(latencies_.begin(), latencies_.end());
    out.p50_us = latencies_[latencies_.size() / 2];
    out.p99_us = latencies_[latencies_.size() * 99 / 100];
    return out;
  }

  const Machine& machine_;
  const Load& load_;
  const std::unique_ptr<sched::Policy> policy_;
  std::vector<Instance> instances_;
  Thread io_, client_;
  std::vector<double> latencies_;
  double now_ = 0;
  std::size_t sent_ = 0, batches_ = 0, batched_ = 0;
};

}  // namespace

Outcome simulate(const model::ModelSpec& spec, const Machine& machine, const Load& load) {
  return World(spec, machine, load).run();
}

}  // namespace argosy::sim
