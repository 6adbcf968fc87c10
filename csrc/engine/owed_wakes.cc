#include "engine/owed_wakes.h"

#include "engine/lane.h"

namespace argosy::engine {

void OwedWakes::pay() {
  for (const auto& lane : lanes_) lane->wake();
  lanes_.clear();
}

}  // namespace argosy::engine
