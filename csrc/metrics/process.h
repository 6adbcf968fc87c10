#pragma once

// ProcessSource: the machine's and this process's CPU and memory, read from /proc when
// a page is made. What cannot be read is left out.
//
// Thread: any.

#include <cstdint>

#include "base/guarded.h"
#include "metrics/registry.h"

namespace argosy::metrics {

class ProcessSource final : public Source {
 public:
  ProcessSource();
  void collect(Page& page) const override;

 private:
  struct CpuTicks {
    std::uint64_t busy = 0, all = 0;
    double utilization = 0;  // of the last interval that had ticks in it
  };
  mutable Guarded<CpuTicks> last_;
};

}  // namespace argosy::metrics
