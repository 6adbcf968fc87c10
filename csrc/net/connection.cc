#include "net/connection.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <cstring>

namespace argosy::net {
namespace {

constexpr std::size_t kReadPerRound = 1u << 20;  // then others have their turn
constexpr std::size_t kPiecesPerWrite = 64;
constexpr std::size_t kPiecesPerRead = 130;
constexpr std::size_t kSmallBuffer = 8u << 10;

}  // namespace

Connection::Connection(EventLoop& loop, Descriptor socket, std::string peer, std::unique_ptr<TlsSession> tls,
                       const ConnectionOptions& options, BytesPool& pool, Gone gone)
    : loop_(loop),
      pool_(pool),
      socket_(std::move(socket)),
      peer_(std::move(peer)),
      tls_(std::move(tls)),
      options_(options),
      gone_(std::move(gone)),
      timer_(loop, [this](const IoToken& io) { on_timer(io); }) {}

Connection::~Connection() = default;

Status Connection::open(const IoToken& io, const ConnectionFactory& factory) {
  if (tls_) {
    phase_ = Phase::handshaking;
    timer_.set(io, loop_.now(io) + options_.handshake_timeout);
  }
  handler_ = factory(io, *this);
  if (Status watched = loop_.watch(io, socket_.get(), *this, Trigger::edge_both); !watched.ok()) return watched;
  if (!tls_) handler_->on_open(io);
  return {};
}

void Connection::ask_round_end(const IoToken& io) { loop_.at_round_end(io, *this); }

void Connection::write(const IoToken& io, Bytes bytes) {
  if (phase_ >= Phase::finishing || bytes.empty()) return;
  unsent_ += bytes.size();
  queue_.push_back(std::move(bytes));
  over_high_ = over_high_ || unsent_ > options_.write_high_bytes;
  ask_round_end(io);
}

void Connection::write_copy(const IoToken& io, std::string_view bytes) {
  if (phase_ >= Phase::finishing || bytes.empty()) return;
  if (!small_ || small_.capacity() - small_used_ < bytes.size()) {
    small_ = pool_.allocate(std::max(kSmallBuffer, bytes.size()));
    small_used_ = 0;
    if (!small_) return close(io, resource_exhausted("no memory to answer"));
  }
  std::byte* const at = small_.data() + small_used_;
  std::memcpy(at, bytes.data(), bytes.size());
  Bytes* const last = queue_.empty() ? nullptr : &queue_.back();
  if (last != nullptr && small_used_ > 0 && last->data() + last->size() == at) {
    const auto begin = static_cast<std::size_t>(last->data() - small_.data());
    *last = small_.written(begin, last->size() + bytes.size());
  } else {
    queue_.push_back(small_.written(small_used_, bytes.size()));
  }
  small_used_ += bytes.size();
  unsent_ += bytes.size();
  over_high_ = over_high_ || unsent_ > options_.write_high_bytes;
  ask_round_end(io);
}

void Connection::resume_reading(const IoToken& io) {
  handler_full_ = false;
  if (readable_) ask_round_end(io);
}

void Connection::close_after_writing(const IoToken& io) {
  if (phase_ >= Phase::finishing) return;
  phase_ = Phase::finishing;
  ask_round_end(io);
}

void Connection::close(const IoToken& io, Status why) {
  if (phase_ == Phase::closed) return;
  phase_ = Phase::closed;
  timer_.clear(io);
  loop_.forget_round_end(io, *this);
  loop_.unwatch(io, socket_.get());
  socket_.close();
  queue_.clear();
  queue_begin_ = unsent_ = 0;
  handler_->on_closed(io, why);
  gone_(io, *this);
}

void Connection::drain(const IoToken& io) {
  if (phase_ == Phase::handshaking) return close(io);
  if (phase_ == Phase::open) handler_->on_drain(io);
}

void Connection::on_timer(const IoToken& io) {
  if (phase_ == Phase::handshaking) return close(io, deadline_exceeded("TLS handshake took too long"));
  if (phase_ == Phase::lingering) return close(io);
  if (unsent_ > 0) close(io, deadline_exceeded("the peer does not read"));
}

void Connection::on_ready(const IoToken& io, std::uint32_t events) {
  if (phase_ == Phase::closed) return;
  if (events & EPOLLOUT) writable_ = true;
  if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) readable_ = true;
  if (events & (EPOLLRDHUP | EPOLLHUP)) hung_up_ = true;
  if (phase_ == Phase::handshaking) {
    shake_hands(io);
    if (phase_ != Phase::open) return;
  }
  if (readable_) read_some(io);
  if (phase_ == Phase::closed) return;
  if ((events & (EPOLLERR | EPOLLHUP)) != 0 && readable_) {  // nobody is left to read an answer
    return close(io, phase_ == Phase::open ? cancelled("connection reset by the peer") : Status());
  }
  if (writable_ && unsent_ > 0) ask_round_end(io);
}

void Connection::shake_hands(const IoToken& io) {
  const Moved moved = tls_->handshake();
  if (moved.progress == Progress::done) {
    phase_ = Phase::open;
    timer_.clear(io);
    readable_ = writable_ = true;
    handler_->on_open(io);
  } else if (moved.progress == Progress::failed || moved.progress == Progress::end) {
    close(io, unavailable("TLS handshake failed: " + tls_->error()));
  }
}

template <class Call>
Moved Connection::received(Call call) {
  for (;;) {
    const ssize_t count = call();
    if (count > 0) return {Progress::done, static_cast<std::size_t>(count)};
    if (count == 0) return {Progress::end, 0};
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return {Progress::wants_read, 0};
    error_ = errno;
    return {Progress::failed, 0};
  }
}

Moved Connection::receive(std::span<std::byte> into) {
  if (tls_) return tls_->read(into);
  return received([&] { return ::recv(socket_.get(), into.data(), into.size(), 0); });
}

// `room`: the size of all places that were offered to the socket.
Moved Connection::receive(std::span<std::byte> into, std::span<const std::span<std::byte>> further, std::size_t& room) {
  room = into.size();
  // TLS gives one record at a time, hardly ever more than the first place takes.
  if (tls_ || further.empty()) return receive(into);
  std::array<iovec, kPiecesPerRead> pieces;
  pieces[0] = {into.data(), into.size()};
  std::size_t count = 1;
  for (std::size_t i = 0; i < further.size() && count < pieces.size(); ++i, ++count) {
    pieces[count] = {further[i].data(), further[i].size()};
    room += further[i].size();
  }
  return received([&] { return ::readv(socket_.get(), pieces.data(), static_cast<int>(count)); });
}

void Connection::read_some(const IoToken& io) {
  std::size_t budget = kReadPerRound;
  while (readable_ && !read_ended_) {
    if (phase_ >= Phase::finishing) return drop_input(io);
    if (over_high_ || handler_full_) return;
    if (budget == 0) return ask_round_end(io);
    const std::span<std::byte> into = handler_->read_buffer(io);
    if (phase_ != Phase::open) continue;
    if (into.empty()) {
      handler_full_ = true;
      return;
    }
    std::size_t room = 0;
    const Moved moved = receive(into, handler_->further_buffers(io), room);
    switch (moved.progress) {
      case Progress::done:
        // A short read has emptied the socket, and the next byte is a new edge.
        if (!tls_ && moved.bytes < room && !hung_up_) readable_ = false;
        budget -= std::min(budget, moved.bytes);
        handler_->on_read(io, moved.bytes);
        break;
      case Progress::wants_read:
      case Progress::wants_write: readable_ = false; break;
      case Progress::end:
        read_ended_ = true;
        readable_ = false;
        handler_->on_read_end(io);
        break;
      case Progress::failed: return close(io, cancelled("connection lost: " + fault()));
    }
  }
}

void Connection::drop_input(const IoToken& io) {
  std::array<std::byte, 16384> scrap;
  for (std::size_t budget = kReadPerRound; readable_ && !read_ended_;) {
    if (budget == 0) return ask_round_end(io);
    const Moved moved = receive(scrap);
    if (moved.progress == Progress::done) {
      budget -= std::min(budget, moved.bytes);
    } else if (moved.progress == Progress::wants_read || moved.progress == Progress::wants_write) {
      readable_ = false;
    } else {
      read_ended_ = true;
      readable_ = false;
    }
  }
  if (read_ended_ && phase_ == Phase::lingering) close(io);
}

void Connection::at_round_end(const IoToken& io) {
  if (phase_ != Phase::handshaking && readable_) read_some(io);
  if (phase_ == Phase::open) handler_->before_flush(io);
  if (phase_ != Phase::closed) flush(io);
}

void Connection::flush(const IoToken& io) {
  if (phase_ == Phase::handshaking) return;
  if (unsent_ > 0 && writable_) {
    const bool alive = tls_ ? flush_tls(io) : flush_plain(io);
    if (!alive) return;
  }
  if (unsent_ > 0) {
    if (!timer_.is_set()) timer_.set(io, loop_.now(io) + options_.write_stall);
  } else if (phase_ == Phase::open) {
    timer_.clear(io);
  } else if (phase_ == Phase::finishing) {
    return end_our_side(io);
  }
  if (over_high_ && unsent_ <= options_.write_low_bytes && phase_ == Phase::open) {
    over_high_ = false;
    handler_->on_writable(io);
    if (phase_ == Phase::open && readable_) ask_round_end(io);
  }
}

bool Connection::flush_plain(const IoToken& io) {
  while (unsent_ > 0) {
    std::array<iovec, kPiecesPerWrite> pieces;
    std::size_t count = 0;
    for (std::size_t i = queue_begin_; i < queue_.size() && count < pieces.size(); ++i, ++count) {
      pieces[count] = {const_cast<std::byte*>(queue_[i].data()), queue_[i].size()};
    }
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = count;
    const ssize_t wrote = ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
    if (wrote >= 0) {
      sent(io, static_cast<std::size_t>(wrote));
      continue;
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      writable_ = false;
      return true;
    }
    error_ = errno;
    close(io, cancelled("connection lost: " + fault()));
    return false;
  }
  return true;
}

bool Connection::flush_tls(const IoToken& io) {
  while (unsent_ > 0) {
    const Moved moved = tls_->write(queue_[queue_begin_].span());
    if (moved.progress == Progress::done) {
      sent(io, moved.bytes);
    } else if (moved.progress == Progress::wants_write || moved.progress == Progress::wants_read) {
      writable_ = false;
      return true;
    } else {
      close(io, cancelled("connection lost: " + fault()));
      return false;
    }
  }
  return true;
}

void Connection::sent(const IoToken& io, std::size_t count) {
  unsent_ -= count;
  if (timer_.is_set()) timer_.set(io, loop_.now(io) + options_.write_stall);
  while (count > 0) {
    Bytes& front = queue_[queue_begin_];
    if (count < front.size()) {
      front = front.from(count);
      return;
    }
    count -= front.size();
    front = {};
    ++queue_begin_;
  }
  if (queue_begin_ == queue_.size()) {
    queue_.clear();
    queue_begin_ = 0;
    small_used_ = 0;  // nobody else ever held a slice of it
  }
}

void Connection::end_our_side(const IoToken& io) {
  phase_ = Phase::lingering;
  if (tls_) tls_->send_end();
  ::shutdown(socket_.get(), SHUT_WR);
  if (read_ended_) return close(io);
  // Closing with unread input would reset the connection and destroy what we wrote.
  timer_.clear(io);
  timer_.set(io, loop_.now(io) + options_.linger);
  if (readable_) drop_input(io);
}

std::string Connection::fault() const { return tls_ ? tls_->error() : error_text(error_); }

}  // namespace argosy::net
