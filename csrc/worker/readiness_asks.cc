#include "worker/readiness_asks.h"

#include <utility>
#include <vector>

namespace argosy::worker {

void ReadinessAsks::ask(Done done, TimePoint now) {
  Status closed;
  std::uint64_t id = 0;
  {
    auto state = state_.lock();
    closed = state->closed;
    if (closed.ok()) {
      id = ++state->last;
      state->asks.emplace(id, Ask{std::move(done), now + limit_});
    }
  }
  if (!closed.ok()) return done(closed);
  Writer message;
  message.number('h').align(8).number(id);
  (void)channel_->send_return(message);  // no room: the limit answers
}

void ReadinessAsks::answered(std::uint64_t id, bool ready) {
  Done done;
  {
    auto state = state_.lock();
    const auto found = state->asks.find(id);
    if (found == state->asks.end()) return;
    done = std::move(found->second.done);
    state->asks.erase(found);
  }
  done(ready ? Status() : unavailable("model instance '" + instance_ + "': the model says that it is not ready"));
}

TimePoint ReadinessAsks::due() const {
  auto state = state_.lock();
  return state->asks.empty() ? TimePoint::max() : state->asks.begin()->second.until;
}

void ReadinessAsks::expire(TimePoint now) {
  std::vector<Done> late;
  {
    auto state = state_.lock();
    while (!state->asks.empty() && state->asks.begin()->second.until <= now) {
      late.push_back(std::move(state->asks.begin()->second.done));
      state->asks.erase(state->asks.begin());
    }
  }
  for (const auto& done : late) {
    done(unavailable("model instance '" + instance_ + "': the model did not say within " +
                     std::to_string(std::chrono::duration<double>(limit_).count()) + " s whether it is ready"));
  }
}

void ReadinessAsks::close(const Status& why) {
  std::map<std::uint64_t, Ask> asks;
  {
    auto state = state_.lock();
    state->closed = why;
    asks.swap(state->asks);
  }
  for (const auto& [id, ask] : asks) ask.done(why);
}

}  // namespace argosy::worker
