#pragma once

// TrackedSink: stands before a request's own sink where an instance may keep the
// request and answer later, several times, from another thread. It counts what passes,
// keeps the arrival order if the model promises one, and leaves the lane's gate after
// the last answer.
//
// Thread: as ReplySink: one at a time.

#include <atomic>
#include <memory>
#include <vector>

#include "engine/lane.h"
#include "infer/reply.h"

namespace argosy::engine {

class TrackedSink final : public infer::ReplySink {
 public:
  TrackedSink(std::shared_ptr<Lane> lane, std::size_t instance, const infer::Request& request, std::uint64_t order,
              TimePoint free_since, std::unique_ptr<infer::ReplySink> inner);

  void send(infer::Response response, bool last) override;

  // The runner's word for a request that was left in place; before its answer.
  void ran(TimePoint input_ready, TimePoint output_ready) {
    timings_.input_ready = input_ready;
    timings_.output_ready = output_ready;
  }

  // The request comes again unanswered: whatever is said from now on only passes, because
  // the sink of its next run counts it. Its place in the order is given up.
  void supersede();

 private:
  void count_part(const infer::Response& response, TimePoint now, bool last);

  const std::shared_ptr<Lane> lane_;
  const std::size_t instance_;
  const std::uint64_t order_;
  const TimePoint free_since_;
  const std::uint32_t rows_;
  const std::string id_, trace_id_;
  infer::Timings timings_;
  TimePoint previous_;  // when the model began, or the response before
  std::uint64_t index_ = 0;
  std::vector<infer::Response> held_;  // parts that wait for earlier requests
  bool superseded_ = false;
  infer::Reply inner_;
};

}  // namespace argosy::engine
