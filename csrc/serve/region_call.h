#pragma once

// region_call: an inference whose inputs or outputs lie in memory that its client has
// registered.
//
// Outputs are written to their regions on the thread that answers, once, and leave the
// response without their bytes. Whatever lies on a GPU is brought to the host before
// the model sees it, and the other way round, by a thread of its own (shm::Courier),
// because nothing else here may wait for a copy. A region that lost pages while the
// request ran makes the answer a failure, never zeros that look like a result.
//
// Thread: submit_with_regions() on the connection's loop.

#include "engine/engine.h"
#include "infer/request.h"
#include "kserve/shm_refs.h"
#include "serve/services.h"

namespace argosy::serve {

// The request has its reply already; `use` is not null.
void submit_with_regions(Services& services, const engine::ModelHandle& model, infer::RequestPtr request,
                         kserve::RegionUsePtr use);

}  // namespace argosy::serve
