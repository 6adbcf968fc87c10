#pragma once

// Session: the server's side of one HTTP/2 connection: bytes in, stream events out;
// responses in, bytes out.
//
// Sans-I/O: it owns no socket, clock or thread, and it knows nothing of gRPC. Payload
// passes through uncopied: received DATA arrives as slices of the bytes given to
// receive(), and pull() hands written slices back between small frame heads. input()
// and unfilled() say where payload should be received in the first place: see Landing.
//
// Windows open only as consume() is called, so a slow application slows its client.
//
// Thread: one at a time (its connection's loop). Events are raised inside receive()
// and pull(); an event may call everything except receive(), pull() and the destructor.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/bytes_pool.h"
#include "http2/frame_walk.h"

namespace argosy::http2 {

using StreamId = std::int32_t;

enum class ErrorCode : std::uint32_t {
  no_error = 0,
  protocol_error = 1,
  internal_error = 2,
  flow_control_error = 3,
  stream_closed = 5,
  refused_stream = 7,
  cancel = 8,
  enhance_your_calm = 11,
};

// Names in lower case. `lasting`: both texts outlive the session (literals) and repeat
// from answer to answer, so they are neither copied nor kept out of the HPACK table.
struct Header {
  std::string_view name;
  std::string_view value;
  bool lasting = false;
};

struct Limits {
  std::uint32_t max_concurrent_streams = 4096;
  std::uint32_t max_header_bytes = 16u << 10;  // names, values and 32 each, of one request
  std::uint32_t max_frame_bytes = 1u << 20;    // DATA frames that we accept; 16 KiB..16 MiB
  std::uint32_t stream_window_bytes = 8u << 20;
  std::uint32_t connection_window_bytes = 64u << 20;
  std::uint64_t reset_burst = 10000;     // streams a client may cancel at once,
  std::uint64_t reset_rate = 1000;       // and per second after that
  std::uint32_t max_idle_frames = 1000;  // frames in a row that move no request forward
};

// What happens to one stream. on_close() is the last call, made exactly once.
class StreamEvents {
 public:
  virtual void on_header(std::string_view name, std::string_view value) = 0;  // texts die with the call
  // All of the head has come. `too_large`: it passed Limits::max_header_bytes, and
  // what came after that was not shown.
  virtual void on_head(bool too_large) = 0;
  virtual void on_data(Bytes data) = 0;  // counts against the windows until consume()
  // Where the bytes of the next on_data() should lie, as many as it has capacity for, so
  // that nobody need copy them. Until then anything may be written there. Empty: anywhere.
  virtual Buffer unfilled() { return {}; }
  virtual void on_end() = 0;      // the client has said all it will
  virtual void on_drained() = 0;  // unsent() fell to Session::kDrained or below
  virtual void on_close(ErrorCode code) = 0;

 protected:
  ~StreamEvents() = default;
};

class SessionEvents {
 public:
  // A client opened a stream. The result is told what happens to it and must live until
  // its on_close(); null refuses the stream.
  virtual StreamEvents* on_stream(StreamId id) = 0;
  virtual void on_ping() = 0;       // the client pinged; the answer is queued already
  virtual void on_ping_ack() = 0;   // it answered ping()
  virtual void on_data_sent() = 0;  // a head or payload left for the client

 protected:
  ~SessionEvents() = default;
};

class Session {
 public:
  static constexpr std::size_t kDrained = 64u << 10;

  // `events` and `pool` must outlive the session.
  Session(Limits limits, SessionEvents& events, BytesPool& pool);
  ~Session();  // open streams get on_close(cancel)

  // False: the connection is beyond repair; send what pull() still has, then close.
  [[nodiscard]] bool receive(Bytes bytes);

  const FrameWalk& input() const;      // where in its frames what was received ends
  Buffer unfilled(StreamId id) const;  // a stream that is gone has none

  // Appends what should go to the socket now to `out` and returns how many bytes that
  // is: whole frames, until `budget` is passed or nothing is left.
  std::size_t pull(std::vector<Bytes>& out, std::size_t budget);

  bool wants_pull() const;  // pull() would give something
  bool done() const;        // nothing to send and nothing expected: close the socket

  // A stream that is gone ignores these.
  void respond(StreamId id, std::span<const Header> head);
  void respond_and_finish(StreamId id, std::span<const Header> head);  // a head that is also the end
  void write(StreamId id, Bytes body);                                 // after respond()
  void write_copy(StreamId id, std::span<const std::byte> body);       // the same for little: neighbours share memory
  void finish(StreamId id, std::span<const Header> trailers);          // after respond()
  void reset(StreamId id, ErrorCode code);
  void consume(StreamId id, std::size_t size);
  std::size_t unsent(StreamId id) const;  // written, not yet pulled

  std::size_t open_streams() const;

  void ping();
  // Stops new streams without a race: a first GOAWAY names no last stream, the final
  // one follows when the client has answered a ping. Open streams finish.
  void drain();
  bool draining() const;
  // Ends the connection: GOAWAY with `code` and `reason`, then done() once pulled.
  void terminate(ErrorCode code, std::string_view reason);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace argosy::http2
