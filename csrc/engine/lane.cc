#include "engine/lane.h"

#include <algorithm>

#include "base/log.h"
#include "engine/owed_wakes.h"
#include "engine/tracked_sink.h"
#include "model/check_request.h"
#include "sched/make_policy.h"

namespace argosy::engine {
namespace {

// A batch that takes less is run by who brings it: waking somebody would take longer.
constexpr Nanos kShortRun = std::chrono::microseconds(50);

void comes_again(infer::Request& request) {
  request.timings.taken = {};
  request.reply.wrap([](std::unique_ptr<infer::ReplySink> sink) {
    if (auto* last_run = dynamic_cast<TrackedSink*>(sink.get())) last_run->supersede();
    return sink;
  });
}

TimePoint deadline_of(const infer::Request& request) {
  if (request.timeout_us == 0) return request.deadline;
  const auto left = std::chrono::duration_cast<Micros>(TimePoint::max() - request.timings.received);
  if (request.timeout_us >= static_cast<std::uint64_t>(left.count())) return request.deadline;
  return std::min(request.deadline, request.timings.received + Micros(request.timeout_us));
}

FailureReason reason_of(const Status& status) {
  switch (status.code()) {
    case StatusCode::cancelled: return FailureReason::canceled;
    case StatusCode::unavailable:
    case StatusCode::resource_exhausted:
    case StatusCode::deadline_exceeded: return FailureReason::rejected;
    default: return FailureReason::other;
  }
}

}  // namespace

Lane::Lane(model::SpecPtr spec, std::size_t instances, const Clock& clock, std::shared_ptr<QueuedBytes> queued_bytes,
           std::shared_ptr<Expiry> expiry)
    : spec_(std::move(spec)),
      clock_(clock),
      queued_bytes_(std::move(queued_bytes)),
      expiry_(std::move(expiry)),
      queue_(sched::make_policy(*spec_, instances), instances, clock),
      accounting_(instances),
      outbox_(spec_->batching && spec_->batching->preserve_ordering, gate_) {}

std::optional<ModelQueue::Loan> Lane::submit_or_borrow(infer::RequestPtr request) {
  return enter(std::move(request), nullptr, Nanos(usual_run_.load(std::memory_order_relaxed)) <= kShortRun);
}

void Lane::ran(Nanos took) {
  // A run that was interrupted once shall not make the model a slow one.
  const Nanos::rep now = std::min(took, 4 * kShortRun).count();
  const Nanos::rep usual = usual_run_.load(std::memory_order_relaxed);
  usual_run_.store(usual == Nanos::max().count() ? now : usual + (now - usual) / 8, std::memory_order_relaxed);
}

std::optional<ModelQueue::Loan> Lane::enter(infer::RequestPtr request, OwedWakes* owed, bool borrows) {
  const TimePoint now = clock_.now();
  if (request->timings.received == TimePoint{}) request->timings.received = now;
  const bool inside = gate_.enter();
  if (request->timings.taken != TimePoint{}) comes_again(*request);
  if (!inside) {
    Status why;
    {
      auto refusal = refusal_.lock();
      why = *refusal;
    }
    refuse(std::move(request), std::move(why));
    return std::nullopt;
  }
  Status status = model::check_request(*spec_, *request);
  if (status.ok()) status = queued_bytes_->add(request->bytes);
  if (!status.ok()) {
    refuse(std::move(request), std::move(status));
    gate_.leave();
    return std::nullopt;
  }
  request->deadline = deadline_of(*request);
  request->timings.queued = now;
  // Before the push: a cancellation from here on is either seen by the push or makes
  // expiry look after it.
  if (request->cancellation) request->cancellation->listen(shared_from_this());

  sched::Pending item{.request = std::move(request), .rows = 0, .arrived = now};
  item.rows = item.request->rows;
  const std::size_t bytes = item.request->bytes;
  using Wake = ModelQueue::Wake;
  auto pushed = queue_.push(std::move(item), now, borrows ? Wake::borrow : owed ? Wake::later : Wake::now);
  expiry_->due_at(pushed.next_deadline);
  if (pushed.owes_wake) owed->owe(shared_from_this(), now);
  if (owed) owed->pay_if_late(now);
  if (pushed.loan) left(pushed.loan->taken);
  if (pushed.status.ok()) return std::move(pushed.loan);
  queued_bytes_->remove(bytes);
  refuse(std::move(item.request), std::move(pushed.status));
  gate_.leave();
  return std::nullopt;
}

std::optional<ModelQueue::Taken> Lane::take(std::size_t instance) {
  auto taken = queue_.take(instance);
  if (taken) left(*taken);
  return taken;
}

void Lane::left(ModelQueue::Taken& taken) {
  expiry_->due_at(taken.next_deadline);
  std::size_t bytes = 0;
  for (auto& item : taken.items) {
    bytes += item.request->bytes;
    item.request->timings.taken = taken.when;
  }
  queued_bytes_->remove(bytes);
}

void Lane::answer(std::size_t instance, std::span<infer::RequestPtr> requests, std::span<infer::Response> answers,
                  std::span<const std::uint64_t> orders, std::uint32_t rows, TimePoint free_since) {
  const TimePoint now = clock_.now();
  for (auto& request : requests) request->timings.done = now;
  accounting_.count_batch(instance, requests, answers, rows, free_since);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    if (!answers[i].status.ok()) log_failure(requests[i]->id, requests[i]->trace_id, answers[i].status);
  }
  if (!outbox_.ordered()) {
    for (std::size_t i = 0; i < requests.size(); ++i) std::move(requests[i]->reply).finish(std::move(answers[i]));
    return gate_.leave(requests.size());
  }
  std::vector<Outgoing> outgoing;
  outgoing.reserve(requests.size());
  for (std::size_t i = 0; i < requests.size(); ++i) {
    outgoing.push_back({orders[i], std::move(requests[i]->reply), std::move(answers[i]), {}});
  }
  outbox_.put(outgoing);
}

TimePoint Lane::answer_expired(TimePoint now) {
  // Acquire: the cancellations that set it are seen by the look.
  cancelled_.exchange(false, std::memory_order_acq_rel);
  auto expired = queue_.expire(now);
  for (auto& dropped : expired.dropped) answer_dropped(std::move(dropped.item), std::move(dropped.why));
  return expired.next_deadline;
}

void Lane::on_cancelled() {
  if (!cancelled_.exchange(true, std::memory_order_acq_rel)) expiry_->look_now();
}

void Lane::refuse_new(Status refusal) {
  *refusal_.lock() = std::move(refusal);
  gate_.close();
}

void Lane::close(Status refusal) {
  refuse_new(std::move(refusal));
  queue_.close();
}

void Lane::abandon(const Status& why) {
  for (auto& item : queue_.abandon()) answer_dropped(std::move(item), why);
  answer_expired(clock_.now());
  gate_.give_up();
}

void Lane::refuse(infer::RequestPtr request, Status why) {
  request->timings.done = clock_.now();
  accounting_.count_failure(accounting_.unassigned(), request->timings, reason_of(why));
  if (logs(LogLevel::verbose)) {
    log(LogLevel::verbose, "request refused: " + why.message(), {spec_->name, request->id, request->trace_id});
  }
  std::move(request->reply).finish({std::move(why), {}, {}});
}

void Lane::answer_dropped(sched::Pending item, Status why) {
  infer::Request& request = *item.request;
  queued_bytes_->remove(request.bytes);
  request.timings.done = clock_.now();
  accounting_.count_failure(accounting_.unassigned(), request.timings, reason_of(why));
  if (logs(LogLevel::verbose)) {
    log(LogLevel::verbose, "request left the queue unserved: " + why.message(),
        {spec_->name, request.id, request.trace_id});
  }
  Outgoing outgoing{item.order, std::move(request.reply), {std::move(why), {}, {}}, {}};
  outbox_.put({&outgoing, 1});
}

void Lane::log_failure(const std::string& request_id, const std::string& trace_id, const Status& status) const {
  if (status.code() == StatusCode::cancelled && !logs(LogLevel::verbose)) return;
  log(status.code() == StatusCode::cancelled ? LogLevel::verbose : LogLevel::error,
      "request failed: " + status.message(), {spec_->name, request_id, trace_id});
}

}  // namespace argosy::engine
