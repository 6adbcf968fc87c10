#pragma once

// Connection: one accepted socket, plain or TLS, on its loop.
//
// Reads go straight into memory its handler offers, and writes are queued slices sent
// together at the end of the loop's round: payload is never copied here. A peer that
// does not read stops being read: above the high mark of unsent bytes the handler is
// not asked for memory until the low mark is reached again.
//
// Thread: its loop's.
// Life:  the handler lives in the connection and may use it until on_closed(), which is
//        called exactly once; both are destroyed after the round.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/bytes_pool.h"
#include "base/status.h"
#include "net/event_loop.h"
#include "net/tls.h"

namespace argosy::net {

class Connection;

class ConnectionHandler {
 public:
  virtual ~ConnectionHandler() = default;

  // The connection can be written: at once, or after the TLS handshake.
  virtual void on_open(const IoToken&) {}
  // Where the next bytes go. Empty: do not read until resume_reading().
  virtual std::span<std::byte> read_buffer(const IoToken& io) = 0;
  // More places, to be filled in this order once that one is full. Valid until on_read().
  virtual std::span<const std::span<std::byte>> further_buffers(const IoToken&) { return {}; }
  // The first `count` bytes of all these have been filled.
  virtual void on_read(const IoToken& io, std::size_t count) = 0;
  // The peer will send nothing more; it may still read. Nothing is read from now on.
  virtual void on_read_end(const IoToken& io) = 0;
  // What is queued is about to be sent: the last chance to add to it in this round. Comes
  // after ask_flush(), and before other writes too.
  virtual void before_flush(const IoToken&) {}
  // The unsent bytes fell below the low mark, after having been above the high one.
  virtual void on_writable(const IoToken&) {}
  // The server is going: finish what runs, announce the end, then close.
  virtual void on_drain(const IoToken& io) = 0;
  // It is over. ok: both sides ended in order, or we closed it.
  virtual void on_closed(const IoToken& io, const Status& why) = 0;
};

using ConnectionFactory = std::function<std::unique_ptr<ConnectionHandler>(const IoToken&, Connection&)>;

struct ConnectionOptions {
  std::size_t write_high_bytes = 1u << 20;
  std::size_t write_low_bytes = 256u << 10;
  Micros write_stall{60'000'000};  // a peer that takes none of the unsent bytes for this long is dropped
  Micros handshake_timeout{10'000'000};
  Micros linger{2'000'000};  // after our last byte: how long to wait for the peer's end
};

class Connection final : private ReadyHandler, private RoundEnd {
 public:
  using Gone = std::function<void(const IoToken&, Connection&)>;  // after on_closed; for the owner

  Connection(EventLoop& loop, Descriptor socket, std::string peer, std::unique_ptr<TlsSession> tls,
             const ConnectionOptions& options, BytesPool& pool, Gone gone);
  ~Connection() override;

  // Registers with the loop; the handler hears on_open() now or after the handshake.
  Status open(const IoToken& io, const ConnectionFactory& factory);

  // Sent in order at the end of this round. The slice is kept, not copied.
  void write(const IoToken& io, Bytes bytes);
  // The same for small things: copied into a buffer that neighbours share.
  void write_copy(const IoToken& io, std::string_view bytes);
  // Has before_flush() called at the end of this round.
  void ask_flush(const IoToken& io) { ask_round_end(io); }
  std::size_t unsent() const { return unsent_; }
  bool over_high_mark() const { return over_high_; }

  void resume_reading(const IoToken& io);

  // Sends what is queued, then says goodbye; input is read and dropped meanwhile.
  void close_after_writing(const IoToken& io);
  // Now. Unsent bytes are lost.
  void close(const IoToken& io, Status why = {});
  bool closed() const { return phase_ == Phase::closed; }
  bool closing() const { return phase_ >= Phase::finishing; }

  void drain(const IoToken& io);

  EventLoop& loop() { return loop_; }
  BytesPool& pool() { return pool_; }
  const std::string& peer() const { return peer_; }  // "127.0.0.1:41234", or "unix"
  std::string_view alpn() const { return tls_ ? tls_->alpn() : std::string_view(); }
  bool encrypted() const { return tls_ != nullptr; }
  std::string peer_subject() const { return tls_ ? tls_->peer_subject() : std::string(); }

 private:
  // finishing: writing what is left; lingering: our side has ended.
  enum class Phase : std::uint8_t { handshaking, open, finishing, lingering, closed };

  void on_ready(const IoToken& io, std::uint32_t events) override;
  void at_round_end(const IoToken& io) override;

  void on_timer(const IoToken& io);
  void shake_hands(const IoToken& io);
  void read_some(const IoToken& io);
  void drop_input(const IoToken& io);
  void flush(const IoToken& io);
  bool flush_plain(const IoToken& io);  // false: closed
  bool flush_tls(const IoToken& io);
  void sent(const IoToken& io, std::size_t count);
  void end_our_side(const IoToken& io);
  void ask_round_end(const IoToken& io);
  Moved receive(std::span<std::byte> into);
  template <class Call>
  Moved received(Call call);  // what recv or readv says
  Moved receive(std::span<std::byte> into, std::span<const std::span<std::byte>> further, std::size_t& room);
  std::string fault() const;

  EventLoop& loop_;
  BytesPool& pool_;
  Descriptor socket_;
  const std::string peer_;
  std::unique_ptr<TlsSession> tls_;
  const ConnectionOptions options_;
  Gone gone_;
  std::unique_ptr<ConnectionHandler> handler_;
  Timer timer_;  // handshake, then write stall or linger
  std::vector<Bytes> queue_;
  std::size_t queue_begin_ = 0;
  std::size_t unsent_ = 0;
  Buffer small_;  // where write_copy puts bytes
  std::size_t small_used_ = 0;
  int error_ = 0;
  Phase phase_ = Phase::open;
  bool over_high_ = false;
  bool readable_ = false;  // the socket may hold bytes (edge-triggered)
  bool writable_ = true;
  bool hung_up_ = false;  // no further edge will tell of an end
  bool read_ended_ = false;
  bool handler_full_ = false;  // offered no buffer
};

}  // namespace argosy::net
