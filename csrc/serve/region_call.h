#pragma once

// region_call: an inference whose inputs or outputs lie in memory that its client has
// registered.
//
// An input on a GPU goes as it is to a model all of whose instances enqueue their work on
// that GPU: assemble moves it into the batch, in the order of its streams, and holds the
// region until that has happened. Before any other model sees it, it is brought to the
// host: one on the CPU, one that does not enqueue, one on another GPU or on several,
// because nobody knows beforehand which instance will have the request.
//
// Outputs are written to their regions on the thread that answers, once, and leave the
// response without their bytes. Also those of a model on a GPU that go to a region there
// come through pinned memory: a batch leaves the device in one piece, and is cut into
// requests on the host.
//
// A thread of its own (shm::Courier) waits for copies, because nothing else here may. A
// region that lost pages while the request ran makes the answer a failure, never zeros
// that look like a result.
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
