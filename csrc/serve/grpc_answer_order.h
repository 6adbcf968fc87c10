#pragma once

// AnswerOrder: in which order the answers of one ModelStreamInfer leave.
//
// Ordered requests (of models that answer once) are answered in the order in which they
// came, across models; an answer that is early waits here. Unordered ones (of decoupled
// models) pass at once, between the others.
//
// Pure: values in, values out. Thread: its stream's loop.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/status.h"
#include "kserve/gather.h"

namespace argosy::serve {

struct StreamAnswer {
  kserve::Gather message;  // may be nothing to send
  Status failure;          // not ok: this answer is an error
};

class AnswerOrder {
 public:
  using Ticket = std::uint64_t;

  Ticket admit(bool ordered);

  // One answer of `ticket`; appends to `out` what may leave now. After `last` the
  // ticket is void.
  void put(Ticket ticket, StreamAnswer answer, bool last, std::vector<StreamAnswer>& out);

  std::size_t open() const { return slots_.size(); }

 private:
  struct Slot {
    Ticket ticket;
    bool ordered;
    bool done = false;
    std::vector<StreamAnswer> early;
  };

  void release(std::vector<StreamAnswer>& out);

  std::vector<Slot> slots_;  // by ticket, rising
  Ticket next_ = 0;
};

}  // namespace argosy::serve
