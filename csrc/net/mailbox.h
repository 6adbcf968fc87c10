#pragma once

// Mailbox: tasks for one event loop, from any thread.
//
// Many writers, one reader. The writer that finds the reader asleep wakes it with one
// eventfd write; all others, and everybody while the reader is awake, only push. A
// mailbox outlives its loop in the hands of whoever may still post: after close(), what
// is posted is destroyed on the spot.
//
// Thread: post() any; the rest is the loop's own.

#include <atomic>
#include <memory>
#include <type_traits>
#include <utility>

#include "net/io_token.h"
#include "net/socket.h"

namespace argosy::net {

// A task, with the link that lets a batch of them be posted without an allocation
// beyond their own. May be destroyed unrun, on any thread.
class Posted {
 public:
  virtual ~Posted() = default;
  virtual void run(const IoToken& io) = 0;

 private:
  friend class Mailbox;
  Posted* next_ = nullptr;
};

class Mailbox {
 public:
  explicit Mailbox(Descriptor wake) : wake_(std::move(wake)) {}
  ~Mailbox();
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  void post(std::unique_ptr<Posted> task);
  template <class F>
  requires std::is_invocable_v<F&, const IoToken&>
  void post(F task) {
    struct Call final : Posted {
      explicit Call(F f) : call(std::move(f)) {}
      void run(const IoToken& io) override { call(io); }
      F call;
    };
    post(std::unique_ptr<Posted>(std::make_unique<Call>(std::move(task))));
  }

  int wake_descriptor() const { return wake_.get(); }

  // Runs what has been posted, in the order of posting. Whether there was anything.
  bool run_all(const IoToken& io);

  // From now on the next writer wakes the reader. False: there is mail, do not sleep.
  bool fall_asleep();

  // Writers need not wake the reader any more: it is about to look.
  void wake_up();

  // Destroys what was posted and refuses the rest.
  void close();

 private:
  static Posted* asleep();
  static Posted* closed();

  // A stack of posted tasks, newest first, or one of two marks. Pushing releases the
  // task's contents; taking acquires them.
  std::atomic<Posted*> newest_{nullptr};
  Descriptor wake_;
};

}  // namespace argosy::net
