#include "sched/make_policy.h"

#include "sched/dynamic_batcher.h"
#include "sched/fifo.h"

namespace argosy::sched {

std::unique_ptr<Policy> make_policy(const model::ModelSpec& spec, std::size_t instances) {
  if (spec.batching) return std::make_unique<DynamicBatcher>(spec, instances);
  return std::make_unique<Fifo>();
}

}  // namespace argosy::sched
