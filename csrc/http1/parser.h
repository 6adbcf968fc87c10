#pragma once

// Parser: the bytes of one HTTP/1.1 connection, in; requests with head and body, out.
//
// Sans-I/O, incremental and strict: what could be read in two ways (two lengths, a
// length beside chunks, folded or malformed fields) is refused. It owns the memory
// that is read into: a body with a length larger than the read buffer is received
// where it stays, in one buffer of its size, for which the head may name a better place;
// a small one is a slice of the read buffer.
//
// Thread: one at a time (its connection's loop).
// Views:  the head is valid until the next call of next() after `message`.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/bytes_pool.h"

namespace argosy::http1 {

struct ParserLimits {
  std::size_t max_header_bytes = 64u << 10;  // request line and fields; trailers alike
  std::size_t max_headers = 256;
  std::size_t max_body_bytes = (std::size_t{1} << 31) - 1;
  std::size_t max_chunks = 65536;  // that are not empty
};

struct Field {
  std::string_view name;  // as received
  std::string_view value;
};

struct Head {
  std::string_view method;
  std::string_view target;  // as received
  std::string_view path() const { return target.substr(0, target.find('?')); }
  std::vector<Field> fields;
  int minor_version = 1;
  bool keep_alive = true;
  bool expects_continue = false;
  bool has_body = false;

  // The value of the first field of this name, letters' case aside; null: none.
  const std::string_view* find(std::string_view name) const;
};

bool equal_ignoring_case(std::string_view a, std::string_view b);

struct Fault {
  int status = 400;
  std::string text;
};

enum class Event : std::uint8_t {
  need_more,
  head,     // fields are complete and a body follows
  message,  // the request is complete
  fault,    // nothing after it can be trusted; close once it is answered
};

// A better place for large bodies with a length.
class BodyRoom {
 public:
  virtual ~BodyRoom() = default;
  virtual Buffer room(const Head& head, std::size_t size) = 0;  // empty: any
};

class Parser {
 public:
  // `rooms`, where given, is asked before `pool`, and outlives this.
  Parser(const ParserLimits& limits, BytesPool& pool, BodyRoom* rooms = nullptr);
  ~Parser();
  Parser(const Parser&) = delete;
  Parser& operator=(const Parser&) = delete;

  // Where the next bytes go; empty: no memory.
  std::span<std::byte> space();
  // The first `count` bytes of it have arrived.
  void filled(std::size_t count);

  Event next();

  const Head& head() const;
  Bytes take_body();
  const Fault& fault() const;

  bool between_messages() const;  // nothing of a next request has arrived
  bool in_body() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace argosy::http1
