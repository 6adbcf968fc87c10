#pragma once

// ModelQueue: where requests wait for a free instance of one model version.
//
// The only place where a scheduling policy meets a lock. push() never blocks; take()
// parks an instance thread until the policy lets it run something. A sleeping instance
// is woken once: until it is awake, pushes only add to what it will find, and it wakes
// the next one if it leaves anything. Of the instances that would wait for one due
// time, one waits for the time and the others for a signal; while it waits, pushing
// threads ask the policy on its behalf and hand it a batch that is ripe.
//
// An instance that sleeps can be lent to a thread that pushes: the thread runs what it
// brought and gives the instance back, which saves both of them a wake-up.
//
// Thread: the instances' own for take(), lend() and pipelines(); any for the rest.

#include <condition_variable>
#include <memory>
#include <optional>
#include <vector>

#include "base/guarded.h"
#include "base/status.h"
#include "base/time.h"
#include "sched/policy.h"

namespace argosy::engine {

class ModelQueue {
 public:
  struct Taken {
    std::vector<sched::Pending> items;  // none: interrupted
    TimePoint when;                     // they left the queue
    TimePoint free_since;               // the instance came for work
    TimePoint next_deadline;
  };
  struct Loan {
    std::size_t instance = 0;
    Taken taken;
  };
  // Policy::next_deadline() as it stood when the queue was left.
  struct Pushed {
    Status status;
    TimePoint next_deadline;
    bool owes_wake = false;    // the caller calls wake() soon
    std::optional<Loan> loan;  // the caller runs it, then calls give_back()
  };
  struct Expired {
    std::vector<sched::Dropped> dropped;
    TimePoint next_deadline;
  };
  struct Waiting {
    std::size_t requests = 0;
    TimePoint oldest = TimePoint::max();
  };

  ModelQueue(std::unique_ptr<sched::Policy> policy, std::size_t instances, const Clock& clock);

  // Takes the item only when ok; otherwise it is left with the caller. Not ok: what the
  // policy says, closed, or already cancelled. With Wake::later a sleeping instance stays
  // asleep until wake(): the caller has more to push. With Wake::borrow the caller would
  // rather run the batch itself, if a lendable instance sleeps.
  enum class Wake : std::uint8_t { now, later, borrow };
  Pushed push(sched::Pending&& item, TimePoint now, Wake wake = Wake::now);
  void wake();
  void give_back(std::size_t instance);

  // From now on this instance may be lent. Its own thread's.
  void lend(std::size_t instance);

  // Blocks. Nothing means: closed and drained, the instance thread may end.
  std::optional<Taken> take(std::size_t instance);

  // Makes take(instance) return without items, now or when it is next called. Once.
  void interrupt(std::size_t instance);

  // As Policy says; whoever sleeps and may run something now is woken.
  void pipelines(std::size_t instance) { state_.lock()->policy->pipelines(instance); }
  void ended(std::size_t instance);

  Expired expire(TimePoint now);

  // No more pushes; what is queued is ripe.
  void close();

  // Closes and hands over all that is queued.
  std::vector<sched::Pending> abandon();

  Waiting waiting();

 private:
  enum class Rest : std::uint8_t { busy, asleep, timed, called, lent };
  struct Place {
    Rest rest = Rest::busy;
    std::optional<sched::RunBatch> handed;
    bool lendable = false;
    bool interrupted = false;
  };
  struct State {
    std::unique_ptr<sched::Policy> policy;
    std::vector<Place> places;
    std::vector<std::size_t> asleep;  // the last one is woken first: its caches are warm
    std::optional<std::size_t> timed;
    TimePoint due = TimePoint::max();  // of `timed`
    std::size_t called = 0;            // woken and not yet awake
    bool owed = false;                 // somebody will call wake()
    bool closed = false;
  };

  std::optional<std::size_t> call_one(State& state, TimePoint now);
  std::optional<Loan> lend_one(State& state, TimePoint now);
  void rest(Guarded<State>::Lock& state, std::size_t instance, std::optional<TimePoint> due);
  void signal(std::optional<std::size_t> instance);

  const std::size_t instances_;
  const Clock& clock_;  // the engine's
  Guarded<State> state_;
  std::unique_ptr<std::condition_variable[]> signals_;  // one per instance
};

}  // namespace argosy::engine
