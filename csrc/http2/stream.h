#pragma once

// Stream: what a session knows of one open stream: whom to tell, what is still to be
// sent, and how much the application has not consumed yet. A closed one is cleared and
// used again, so that a stream costs no allocation after the first few.
//
// Thread: its session's.

#include <cstddef>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "http2/session.h"

namespace argosy::http2 {

// A trailer on its way: its texts are kept here unless they last by themselves.
struct KeptHeader {
  Header given;
  std::string name, value;

  explicit KeptHeader(const Header& header) : given(header) {
    if (header.lasting) return;
    name = header.name;
    value = header.value;
  }
  Header view() const { return given.lasting ? given : Header{name, value, false}; }
};

struct Stream {
  StreamId id = 0;
  std::size_t place = 0;  // in Parts::live
  StreamEvents* events = nullptr;
  std::vector<Bytes> body;     // body[sent..] is still to go
  std::size_t sent = 0;        // slices of `body` that have gone
  std::size_t unsent = 0;      // bytes
  std::size_t unconsumed = 0;  // received and not consume()d
  std::size_t header_bytes = 0;
  std::vector<KeptHeader> trailers;
  bool too_large = false;
  bool head_done = false;
  bool responded = false;
  bool finished = false;
  bool deferred = false;  // nghttp2 waits for write() or finish()
  bool shares = false;
  bool full = false;  // was above kDrained

  void clear() {
    body.clear();
    trailers.clear();
    id = 0;
    events = nullptr;
    sent = unsent = unconsumed = header_bytes = 0;
    too_large = head_done = responded = finished = deferred = shares = full = false;
  }
};

}  // namespace argosy::http2
