#pragma once

// TornPages: a watch over memory that another process can take away.
//
// Whoever shares a file can truncate it, or the file system can be full when a page is
// first written; the next touch of such a page is SIGBUS, which ends a process. While
// memory is watched, a touch of a page that is gone finds zeros instead: the rest of
// the mapping is replaced by private memory, and torn() says so from then on. A system
// call that touches the page fails with EFAULT, as ever.
//
// What it cannot promise: somebody who replaces the process's handler of SIGBUS after
// the first watch takes this away. Faults elsewhere go to the handler that was there
// before.
//
// Thread: any. Unwatch before unmapping.

#include <cstddef>

namespace argosy::shm {

class TornPages {
 public:
  // `begin` is the start of a mapping of `size` bytes.
  TornPages(const std::byte* begin, std::size_t size);
  ~TornPages();
  TornPages(const TornPages&) = delete;
  TornPages& operator=(const TornPages&) = delete;

  bool torn() const;

 private:
  struct Range;
  struct Ranges;
  Range* range_;
};

}  // namespace argosy::shm
