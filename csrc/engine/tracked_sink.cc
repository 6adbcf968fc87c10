#include "engine/tracked_sink.h"

namespace argosy::engine {

TrackedSink::TrackedSink(std::shared_ptr<Lane> lane, std::size_t instance, const infer::Request& request,
                         std::uint64_t order, TimePoint free_since, std::unique_ptr<infer::ReplySink> inner)
    : lane_(std::move(lane)),
      instance_(instance),
      order_(order),
      free_since_(free_since),
      rows_(request.rows),
      id_(request.id),
      trace_id_(request.trace_id),
      timings_(request.timings),
      previous_(request.timings.input_ready),
      inner_(std::move(inner)) {}

void TrackedSink::supersede() {
  superseded_ = true;
  Outgoing nothing{order_, {}, {}, {}};
  lane_->outbox().put({&nothing, 1});
}

void TrackedSink::send(infer::Response response, bool last) {
  if (superseded_) {
    for (auto& part : held_) inner_.stream(std::move(part));
    held_.clear();
    if (!last) return inner_.stream(std::move(response));
    return std::move(inner_).finish(std::move(response));
  }
  const TimePoint now = lane_->clock().now();
  if (lane_->spec().decoupled) count_part(response, now, last);
  if (!last) {
    if (timings_.first_response == TimePoint{}) timings_.first_response = now;
    if (!lane_->outbox().is_next(order_)) {
      // Its sender may be the one that must answer the earlier request.
      response.window.reset();
      held_.push_back(std::move(response));
      return;
    }
    for (auto& part : held_) inner_.stream(std::move(part));
    held_.clear();
    inner_.stream(std::move(response));
    return;
  }

  // Answered later than its batch: the model worked on it until now.
  if (timings_.output_ready == TimePoint{}) timings_.output_ready = now;
  timings_.done = now;
  Accounting& accounting = lane_->accounting();
  if (response.status.ok()) {
    accounting.count_success(instance_, {timings_, rows_, free_since_});
  } else {
    const bool canceled = response.status.code() == StatusCode::cancelled;
    accounting.count_failure(instance_, timings_, canceled ? FailureReason::canceled : FailureReason::backend);
    lane_->log_failure(id_, trace_id_, response.status);
  }
  Outgoing outgoing{order_, std::move(inner_), std::move(response), std::move(held_)};
  lane_->outbox().put({&outgoing, 1});
}

void TrackedSink::count_part(const infer::Response& response, TimePoint now, bool last) {
  const bool ok = response.status.ok();
  lane_->accounting().count_response(instance_, {.index = index_++,
                                                 .took = now - previous_,
                                                 .ok = ok,
                                                 .empty = last && ok && response.outputs.empty(),
                                                 .cancelled = response.status.code() == StatusCode::cancelled});
  previous_ = now;
}

}  // namespace argosy::engine
