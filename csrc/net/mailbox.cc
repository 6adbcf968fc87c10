#include "net/mailbox.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>

namespace argosy::net {
namespace {

struct Mark final : Posted {
  void run(const IoToken&) override {}
};

}  // namespace

Posted* Mailbox::asleep() {
  static Mark mark;
  return &mark;
}

Posted* Mailbox::closed() {
  static Mark mark;
  return &mark;
}

Mailbox::~Mailbox() { close(); }

void Mailbox::post(std::unique_ptr<Posted> task) {
  Posted* newest = newest_.load(std::memory_order_relaxed);
  do {
    if (newest == closed()) return;
    task->next_ = newest == asleep() ? nullptr : newest;
  } while (!newest_.compare_exchange_weak(newest, task.get(), std::memory_order_release, std::memory_order_relaxed));
  task.release();
  if (newest == asleep()) {
    const std::uint64_t one = 1;
    // Can fail only when the counter is full, and then the reader wakes anyhow.
    [[maybe_unused]] const auto written = ::write(wake_.get(), &one, sizeof one);
  }
}

bool Mailbox::run_all(const IoToken& io) {
  Posted* newest = newest_.load(std::memory_order_relaxed);
  if (newest == nullptr || newest == closed()) return false;
  newest = newest_.exchange(nullptr, std::memory_order_acquire);
  if (newest == asleep()) return false;
  Posted* oldest = nullptr;
  while (newest != nullptr) {
    Posted* const next = newest->next_;
    newest->next_ = oldest;
    oldest = newest;
    newest = next;
  }
  while (oldest != nullptr) {
    const std::unique_ptr<Posted> task(std::exchange(oldest, oldest->next_));
    task->run(io);
  }
  return true;
}

bool Mailbox::fall_asleep() {
  Posted* expected = nullptr;
  return newest_.compare_exchange_strong(expected, asleep(), std::memory_order_relaxed) || expected == asleep();
}

void Mailbox::wake_up() {
  Posted* expected = asleep();
  newest_.compare_exchange_strong(expected, nullptr, std::memory_order_relaxed);
}

void Mailbox::close() {
  Posted* task = newest_.exchange(closed(), std::memory_order_acquire);
  while (task != nullptr && task != asleep() && task != closed()) {
    const std::unique_ptr<Posted> dropped(std::exchange(task, task->next_));
  }
}

}  // namespace argosy::net
