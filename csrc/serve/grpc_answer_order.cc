#include "serve/grpc_answer_order.h"

#include <algorithm>
#include <cassert>
#include <iterator>
#include <utility>

namespace argosy::serve {

AnswerOrder::Ticket AnswerOrder::admit(bool ordered) {
  slots_.push_back({next_, ordered, false, {}});
  return next_++;
}

void AnswerOrder::put(Ticket ticket, StreamAnswer answer, bool last, std::vector<StreamAnswer>& out) {
  const auto at = std::lower_bound(slots_.begin(), slots_.end(), ticket,
                                   [](const Slot& slot, Ticket t) { return slot.ticket < t; });
  assert(at != slots_.end() && at->ticket == ticket && !at->done);
  if (!at->ordered) {
    out.push_back(std::move(answer));
    if (last) slots_.erase(at);
    return;
  }
  at->early.push_back(std::move(answer));
  at->done = last;
  release(out);
}

// Everything up to and including the first ordered request that is not done.
void AnswerOrder::release(std::vector<StreamAnswer>& out) {
  for (auto at = slots_.begin(); at != slots_.end();) {
    if (!at->ordered) {
      ++at;
      continue;
    }
    std::move(at->early.begin(), at->early.end(), std::back_inserter(out));
    at->early.clear();
    if (!at->done) return;
    at = slots_.erase(at);
  }
}

}  // namespace argosy::serve
