#pragma once

// Lane: how requests enter one model version, leave its queue, and are answered: the
// gate, the queue, the accounting and the outbox of that version, and the rules that
// tie them together. Whatever enters the gate is answered once and leaves it then.
//
// It has no thread and no backend: instances come to it for work. It may outlive its
// Model while a cancellation or a late answer still points at it.
//
// Thread: any, but take() for one instance thread each.

#include <atomic>
#include <memory>
#include <optional>

#include "base/gate.h"
#include "engine/accounting.h"
#include "engine/expiry.h"
#include "engine/model_queue.h"
#include "engine/outbox.h"
#include "engine/queued_bytes.h"
#include "infer/request.h"
#include "model/spec.h"

namespace argosy::engine {

class OwedWakes;

class Lane final : public Expirable, public infer::CancelListener, public std::enable_shared_from_this<Lane> {
 public:
  Lane(model::SpecPtr spec, std::size_t instances, const Clock& clock, std::shared_ptr<QueuedBytes> queued_bytes,
       std::shared_ptr<Expiry> expiry);

  const model::ModelSpec& spec() const { return *spec_; }
  const model::SpecPtr& shared_spec() const { return spec_; }

  // Checks, bounds and queues the request; a refusal is answered here. With `owed`, a
  // sleeping instance is woken when those are paid.
  void submit(infer::RequestPtr request, OwedWakes* owed) { enter(std::move(request), owed, false); }
  void wake() { queue_.wake(); }

  // The same for a thread with the time to run a batch that is known to be short: if an
  // instance sleeps, that thread runs it and then gives the instance back.
  std::optional<ModelQueue::Loan> submit_or_borrow(infer::RequestPtr request);
  void lend(std::size_t instance) { queue_.lend(instance); }
  void give_back(std::size_t instance) { queue_.give_back(instance); }
  void ran(Nanos took);  // one batch

  // Blocks. Nothing: closed and drained.
  std::optional<ModelQueue::Taken> take(std::size_t instance);

  // An instance that keeps several batches under way says so, and when its oldest is over.
  void pipelines(std::size_t instance) { queue_.pipelines(instance); }
  void ended(std::size_t instance) { queue_.ended(instance); }
  // take() returns without requests, now or when it is next called.
  void interrupt(std::size_t instance) { queue_.interrupt(instance); }

  // Answers a batch in which every request was left in place, back to back.
  // `orders[i]` is requests[i]'s place in arrival order.
  void answer(std::size_t instance, std::span<infer::RequestPtr> requests, std::span<infer::Response> answers,
              std::span<const std::uint64_t> orders, std::uint32_t rows, TimePoint free_since);

  TimePoint answer_expired(TimePoint now) override;
  void on_cancelled() override;

  // Refuses from now on, with this reason.
  void refuse_new(Status refusal);
  // And what is queued is ripe: instances end when they have run it.
  void close(Status refusal);
  // Answers all that is queued with `why`, and stops waiting for the rest.
  void abandon(const Status& why);

  Gate& gate() { return gate_; }
  Accounting& accounting() { return accounting_; }
  Outbox& outbox() { return outbox_; }
  const Clock& clock() const { return clock_; }
  ModelQueue::Waiting waiting() { return queue_.waiting(); }
  void log_failure(const std::string& request_id, const std::string& trace_id, const Status& status) const;

 private:
  std::optional<ModelQueue::Loan> enter(infer::RequestPtr request, OwedWakes* owed, bool borrows);
  void left(ModelQueue::Taken& taken);
  void refuse(infer::RequestPtr request, Status why);
  void answer_dropped(sched::Pending item, Status why);

  const model::SpecPtr spec_;
  const Clock& clock_;  // the engine's
  const std::shared_ptr<QueuedBytes> queued_bytes_;
  const std::shared_ptr<Expiry> expiry_;
  Gate gate_;
  ModelQueue queue_;
  Accounting accounting_;
  Outbox outbox_;
  Guarded<Status> refusal_;
  std::atomic<Nanos::rep> usual_run_{Nanos::max().count()};
  // Set by a cancellation, cleared by the look that follows: many cancellations cost one look.
  std::atomic<bool> cancelled_{false};
};

}  // namespace argosy::engine
