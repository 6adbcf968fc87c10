#pragma once

// Request: one inference, from the moment it is decoded to its answer.
//
// The front end fills what the client said; model/check_request puts the inputs in
// the model's order and sets `rows`; the engine stamps deadline and timings. Input
// tensors are slices of the received bytes and keep them alive.
//
// Thread: owned by one stage at a time; only `cancellation` is shared.

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "base/time.h"
#include "infer/cancellation.h"
#include "infer/parameter.h"
#include "infer/reply.h"
#include "infer/timings.h"
#include "tensor/tensor.h"

namespace argosy::infer {

using SequenceId = std::variant<std::monostate, std::uint64_t, std::string>;

struct Sequence {
  SequenceId id;  // monostate, 0 or "": not part of a sequence
  bool start = false;
  bool end = false;
};

struct Request {
  std::string id;                      // the client's; may be empty
  std::string trace_id;                // W3C trace id, hex; may be empty
  std::vector<tensor::Tensor> inputs;  // after check_request: one per model input, in its order
                                       // (an optional input that was not sent has no name)
  std::vector<std::string> wanted;     // output names; empty: all
  Parameters parameters;
  Sequence sequence;
  std::uint64_t priority = 0;      // 0: the model's default level
  std::uint64_t timeout_us = 0;    // the client's `timeout`; 0: none
  bool raw_input = false;          // inputs[0] holds bytes alone; name, type and shape are the model's
  bool wants_empty_final = false;  // decoupled: send a last response even if it has no outputs

  std::uint32_t rows = 1;                 // batch rows; 1 for models that do not batch
  std::size_t bytes = 0;                  // payload bytes this request holds in memory
  TimePoint deadline = TimePoint::max();  // smallest of client, model and transport deadlines
  Timings timings;
  std::shared_ptr<Cancellation> cancellation;  // null: cannot be cancelled
  Reply reply;

  bool cancelled() const { return cancellation && cancellation->cancelled(); }
};
using RequestPtr = std::unique_ptr<Request>;

// "[request id: 7] ", or "[request id: <id_unknown>] ": how most messages about one request begin.
std::string id_prefix(const Request& request);

}  // namespace argosy::infer
