#pragma once

// Wire: requests, responses and tensors as messages, in both directions.
//
//   tensor    u16 name length, u8 data type, u8 where, u32 rank, u64 block, u64 offset,
//             u64 bytes; name; to 8: rank * i64; where = inline: to 16: the bytes
//   where     0 inline; 1 in the writer's arena; 2 (worker to server) in the server's own,
//             passed on; the server says by `block`, a token, when it is done with it
//   request   u64 handle, u64 priority, u64 timeout_us, i64 microseconds to the deadline
//             (-1: none), u64 sequence number, u32 rows, u8 sequence kind (0 none,
//             1 number, 2 text), u8 flags (1 start, 2 end), u16 inputs, u16 wanted,
//             u16 parameters, u32 0; texts id, trace id, sequence; wanted: texts;
//             parameters; tensors
//   response  u8 code, u8 0, u16 outputs, u16 parameters, u16 0; text message;
//             parameters; tensors
//   parameter u8 kind (0 bool, 1 int, 2 double, 3 text); text name; u8 | i64 | f64 | text
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
#include "worker/loans.h"
#include "worker/message.h"

namespace argosy::worker {

inline constexpr std::size_t kInline = 64u << 10;

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
