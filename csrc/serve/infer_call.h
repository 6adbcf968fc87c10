#pragma once

// infer_call: the way of one inference between a connection and the engine, the same
// for both protocols: the decoded request gets a Reply that carries every response
// back to the connection's own loop.
//
// Any number of responses wakes the loop once while it sleeps. Decoding before and
// encoding after are the connection's, because they are the protocol's.
//
// Thread: submit() on the connection's loop; on_response() there again.

#include <memory>

#include "engine/engine.h"
#include "infer/response.h"
#include "kserve/shm_refs.h"
#include "net/mailbox.h"
#include "serve/services.h"

namespace argosy::serve {

// Who asked. The engine's side only keeps it alive: it may be destroyed on any thread,
// and its connection may be gone when a response comes.
class InferCaller {
 public:
  virtual ~InferCaller() = default;
  virtual void on_response(const net::IoToken& io, infer::Response response, bool last) = 0;
};

// Whether this answer says that the request itself is to blame, and never ran.
inline bool never_ran(const Status& status) {
  return status.code() == StatusCode::invalid_argument || status.code() == StatusCode::unsupported;
}

// `mailbox` is the loop's; the request's own `reply` is replaced. `regions`: of the
// client's memory that it uses, if any.
void submit(Services& services, const std::shared_ptr<net::Mailbox>& mailbox, const engine::ModelHandle& model,
            infer::RequestPtr request, std::shared_ptr<InferCaller> caller, kserve::RegionUsePtr regions = nullptr);

}  // namespace argosy::serve
