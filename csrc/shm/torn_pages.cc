#include "shm/torn_pages.h"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <vector>

#include "base/guarded.h"

namespace argosy::shm {

// A link of a list that only grows, because the handler walks it without a lock.
//
// A thread that faults holds the mapping it faults in, so the range of that mapping
// stays; another one may change while it is read. Reading `begin` twice is enough: were
// it the same both times, the range between would be mapped now, and could not hold an
// address of somebody else's mapping.
struct TornPages::Range {
  std::atomic<std::uintptr_t> begin{0};
  std::atomic<std::uintptr_t> end{0};
  std::atomic<bool> torn{false};
  Range* next = nullptr;
};

struct TornPages::Ranges {
  std::atomic<Range*> first{nullptr};
  Guarded<std::vector<Range*>> free;
  struct sigaction before {};
  std::uintptr_t page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));

  // Of the process, and never destroyed: the handler may run to the very end.
  static Ranges& all() {
    static Ranges& ranges = *make();
    return ranges;
  }
  static Ranges* make() {
    auto* const made = new Ranges;
    in_handler = made;
    struct sigaction ours {};
    ours.sa_sigaction = &Ranges::on_signal;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
    ::sigemptyset(&ours.sa_mask);
    (void)::sigaction(SIGBUS, &ours, &made->before);  // fails for bad arguments only
    return made;
  }
  static inline Ranges* in_handler = nullptr;  // set before the handler is

  // Only what a signal handler may do: atomics and system calls.
  bool replace(std::uintptr_t at) {
    for (Range* one = first.load(); one != nullptr; one = one->next) {
      const std::uintptr_t begin = one->begin.load();
      const std::uintptr_t end = one->end.load();
      if (at < begin || at >= end || one->begin.load() != begin) continue;
      const std::uintptr_t from = at / page * page;
      void* const got = ::mmap(reinterpret_cast<void*>(from), end - from, PROT_READ | PROT_WRITE,
                               MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (got == MAP_FAILED) return false;
      one->torn.store(true);
      return true;
    }
    return false;
  }

  static void on_signal(int number, siginfo_t* info, void* context) {
    const int error = errno;
    Ranges& ranges = *in_handler;
    const bool replaced =
        info->si_code == BUS_ADRERR && ranges.replace(reinterpret_cast<std::uintptr_t>(info->si_addr));
    errno = error;
    if (replaced) return;
    if ((ranges.before.sa_flags & SA_SIGINFO) != 0) return ranges.before.sa_sigaction(number, info, context);
    if (ranges.before.sa_handler != SIG_DFL && ranges.before.sa_handler != SIG_IGN) {
      return ranges.before.sa_handler(number);
    }
    // The touch that brought us here is repeated, and ends the process as it should.
    struct sigaction plain {};
    plain.sa_handler = SIG_DFL;
    ::sigaction(SIGBUS, &plain, nullptr);
  }
};

TornPages::TornPages(const std::byte* begin, std::size_t size) {
  Ranges& ranges = Ranges::all();
  auto free = ranges.free.lock();
  const bool fresh = free->empty();
  if (fresh) {
    range_ = new Range;
  } else {
    range_ = free->back();
    free->pop_back();
  }
  const auto from = reinterpret_cast<std::uintptr_t>(begin);
  range_->torn.store(false);
  range_->begin.store(from);
  range_->end.store((from + size + ranges.page - 1) / ranges.page * ranges.page);
  if (!fresh) return;
  range_->next = ranges.first.load();
  ranges.first.store(range_);
}

TornPages::~TornPages() {
  range_->end.store(0);
  range_->begin.store(0);
  Ranges::all().free.lock()->push_back(range_);
}

bool TornPages::torn() const { return range_->torn.load(); }

}  // namespace argosy::shm
