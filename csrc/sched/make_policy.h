#pragma once

// make_policy: a model's specification to its scheduler: the one list of schedulers.
//
// Thread: pure; any.

#include <cstddef>
#include <memory>

#include "model/spec.h"
#include "sched/policy.h"

namespace argosy::sched {

// `instances` >= 1: how many will ask next(), as 0 .. instances - 1.
std::unique_ptr<Policy> make_policy(const model::ModelSpec& spec, std::size_t instances);

}  // namespace argosy::sched
