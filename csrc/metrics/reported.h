#pragma once

// Reported: series that somebody outside measures now and then and hands over whole (a
// GPU's power, say). A page shows the latest; making one measures nothing and waits for
// nobody.
//
// Thread: any.

#include <memory>
#include <vector>

#include "base/guarded.h"
#include "base/status.h"
#include "metrics/registry.h"

namespace argosy::metrics {

class Reported final : public Source {
 public:
  struct Line {
    Family family;
    Labels labels;
    double value = 0;
  };

  // All there are, in place of those before. invalid_argument, and nothing changes, when
  // a name is not one.
  Status replace(std::vector<Line> lines);

  void collect(Page& page) const override;

 private:
  mutable Guarded<std::shared_ptr<const std::vector<Line>>> latest_;
};

}  // namespace argosy::metrics
