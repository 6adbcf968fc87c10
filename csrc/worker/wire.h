#pragma once

// Wire: requests, responses and tensors as messages, in both directions; heads.h has
// their bytes.
//
// Tensors of at most kInline bytes travel in the message, because a copy of that size
// costs less than keeping book of a block. Larger ones that were received into the arena
// are passed as they lie, a part of their block; any other is copied into a block of its own.
//
// Thread: any; one message at a time.

#include <functional>

#include "base/status.h"
#include "infer/request.h"
#include "infer/response.h"
#include "worker/arena.h"
#include "worker/heads.h"
#include "worker/loans.h"
#include "worker/message.h"

namespace argosy::worker {

// Where tensors live on the way out and in.
struct Exchange {
  Loans* ours = nullptr;              // what the other process sees of what this one allocates
  const PeerArena* theirs = nullptr;  // what the other one does
  PeerArena::Released released;       // the end of a tensor of theirs
};

// `lent` collects the blocks that were lent for this message, so that a message which
// is not sent can take them back. resource_exhausted: the arena is full.
Status write_request(const infer::Request& request, std::uint64_t handle, TimePoint now, Exchange& exchange, Writer& to,
                     std::vector<std::uint64_t>& lent);
Status write_response(const infer::Response& response, Exchange& exchange, Writer& to,
                      std::vector<std::uint64_t>& lent);

// The bytes of inline tensors are slices of `message`. internal: malformed, with what
// was wrong; the worker's process is then not to be trusted any more.
Result<infer::Response> read_response(Reader& from, const Bytes& message, const Exchange& exchange);
Result<infer::RequestPtr> read_request(Reader& from, const Bytes& message, const Exchange& exchange, TimePoint now);

}  // namespace argosy::worker
