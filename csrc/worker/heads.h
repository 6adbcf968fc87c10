#pragma once

// Heads: how tensors, requests and responses begin in a message, as the machine stores
// them. Both ends read and write these: wire.h in the server, worker_end/codec.cc in a
// model's process, and argosy/worker/wire.py where that is plain Python.
//
//   tensor    head; name; to 8: rank * i64; where = inline: to 16: the bytes
//   request   head; texts id, trace id, sequence; wanted: texts; parameters; tensors
//   response  head; text message; parameters; tensors
//   parameter u8 kind (0 bool, 1 int, 2 double, 3 text); text name; u8 | i64 | f64 | text
//
// Thread: values; any.

#include <cstddef>
#include <cstdint>

namespace argosy::worker {

inline constexpr std::size_t kInline = 64u << 10;  // bytes of a tensor that travels in the message

enum Where : std::uint8_t {
  kInMessage = 0,
  kWritersArena = 1,
  // Worker to server: in the server's own arena, passed on; the server says by `block`, a
  // token, when it is done with it.
  kReadersArena = 2,
};

struct TensorHead {
  std::uint16_t name_size = 0;
  std::uint8_t dtype = 0;
  std::uint8_t where = kInMessage;
  std::uint32_t rank = 0;
  std::uint64_t block = 0;
  std::uint64_t offset = 0;
  std::uint64_t size = 0;  // bytes
};
static_assert(sizeof(TensorHead) == 32);

enum SequenceKind : std::uint8_t { kNoSequence = 0, kNumbered = 1, kNamed = 2 };
enum SequenceFlag : std::uint8_t { kStart = 1, kEnd = 2 };

struct RequestHead {
  std::uint64_t handle = 0;
  std::uint64_t priority = 0;
  std::uint64_t timeout_us = 0;
  std::int64_t left_us = -1;  // to the deadline; -1: none
  std::uint64_t sequence = 0;
  std::uint32_t rows = 0;
  std::uint8_t sequence_kind = kNoSequence;
  std::uint8_t flags = 0;
  std::uint16_t inputs = 0;
  std::uint16_t wanted = 0;
  std::uint16_t parameters = 0;
  std::uint32_t zero = 0;
};
static_assert(sizeof(RequestHead) == 56);

struct ResponseHead {
  std::uint8_t code = 0;
  std::uint8_t zero = 0;
  std::uint16_t outputs = 0;
  std::uint16_t parameters = 0;
  std::uint16_t zero_too = 0;
};
static_assert(sizeof(ResponseHead) == 8);

}  // namespace argosy::worker
