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

struct Batch {
  std::vector<double> sent;  // by its requests
  double left = 0;           // to compute
};

struct Instance {
  std::vector<double> running;  // when its requests were sent; empty: idle
  double left = 0;              // of the batch, or of assembling it
  double wakes = kNever;        // idle: when it asks the policy again
  bool told = false;            // a wake-up is on its way
  double computes = 0;          // on a device: the batch it assembles
  std::deque<Batch> device;     // assembled; the first is computed
  std::size_t under_way() const { return device.size() + (running.empty() ? 0 : 1); }
};

class World {
 public:
  World(const model::ModelSpec& spec, const Machine& machine, const Load& load)
      : machine_(machine),
        load_(load),
        policy_(sched::make_policy(spec, machine.instances)),
        instances_(machine.instances),
        full_(spec.batching ? spec.max_batch_rows : 1) {
    for (std::size_t i = 0; machine.depth > 1 && i < machine.instances; ++i) policy_->pipelines(i);
  }

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
    for (const Instance& i : instances_) {
      until = std::min(until, i.running.empty() ? i.wakes : now_ + i.left / rate);
      if (!i.device.empty()) until = std::min(until, now_ + i.device.front().left);
    }
    if (until == kNever) return false;

    const double passed = std::max(0.0, until - now_);
    const double done = passed * rate;
    now_ = std::max(now_, until);
    if (!io_.empty()) io_.front().left -= done;
    if (!client_.empty()) client_.front().left -= done;
    for (Instance& i : instances_) {
      i.left -= i.running.empty() ? 0 : done;
      if (!i.device.empty()) i.device.front().left -= passed;
    }

    for (; sent_ < load_.moments.size() && load_.moments[sent_] <= now_; ++sent_) {
      io_.push_back({Work::Kind::arrive, load_.moments[sent_], machine_.in_us});
    }
    finish(io_);
    finish(client_);
    for (std::size_t i = 0; i < instances_.size(); ++i) {
      compute(i);
      advance(i);
    }
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
      if (!i.running.empty() || i.told || !has_place(i) || i.under_way() >= 2) continue;
      i.told = true;
      i.wakes = std::min(i.wakes, now_ + machine_.wake_us);
      return;
    }
  }

  bool has_place(const Instance& self) const {
    if (machine_.depth == 0) return true;
    if (self.under_way() >= machine_.depth) return false;
    return self.under_way() < 2 || full_ <= 1 || policy_->size() >= full_;
  }

  // The device's part.
  void compute(std::size_t index) {
    constexpr double kDone = 1e-6;
    Instance& self = instances_[index];
    if (self.device.empty() || self.device.front().left > kDone) return;
    for (const double sent : self.device.front().sent) io_.push_back({Work::Kind::answer, sent, machine_.out_us});
    self.device.pop_front();
    policy_->ended(index, moment(now_));
    if (self.running.empty()) self.wakes = now_;
  }

  void advance(std::size_t index) {
    constexpr double kDone = 1e-6;
    Instance& self = instances_[index];
    if (!self.running.empty()) {
      if (self.left > kDone) return;
      if (machine_.depth > 0) {
        self.device.push_back({std::move(self.running), self.computes});
      } else {
        for (const double sent : self.running) io_.push_back({Work::Kind::answer, sent, machine_.out_us});
      }
      self.running.clear();
    } else if (self.wakes > now_) {
      return;
    }
    self.told = false;
    self.wakes = kNever;
    if (!has_place(self)) return;
    auto decision = policy_->next(index, moment(now_));
    if (auto* wait = std::get_if<sched::WaitUntil>(&decision)) {
      self.wakes = std::max(micros(wait->when), std::nextafter(now_, kNever));
    } else if (auto* batch = std::get_if<sched::RunBatch>(&decision)) {
      std::uint32_t rows = 0;
      for (const auto& item : batch->items) {
        self.running.push_back(micros(item.request->timings.received));
        rows += item.rows;
      }
      self.left = self.computes = machine_.batch_us + machine_.row_us * rows;
      if (machine_.depth > 0) self.left = machine_.assemble_us;
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
  const std::size_t full_;  // requests that fill a batch for certain
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
