#include "http2/session.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>
#include <new>
#include <string>
#include <utility>

#include "http2/outgoing.h"
#include "http2/stream.h"

namespace argosy::http2 {
namespace {

// Large answers share the connection frame by frame from here on; small ones leave whole.
constexpr std::size_t kShareFrom = 64u << 10;

std::string_view view_of(nghttp2_rcbuf* text) {
  const nghttp2_vec v = nghttp2_rcbuf_get_buf(text);
  return {reinterpret_cast<const char*>(v.base), v.len};
}

std::uint8_t* bytes_of(std::string_view text) {
  return reinterpret_cast<std::uint8_t*>(const_cast<char*>(text.data()));
}

nghttp2_nv pair_of(const Header& header) {
  const auto flags = header.lasting ? NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE
                                    : static_cast<int>(NGHTTP2_NV_FLAG_NO_INDEX);
  return {bytes_of(header.name), bytes_of(header.value), header.name.size(), header.value.size(),
          static_cast<std::uint8_t>(flags)};
}

}  // namespace

struct Session::Parts {
  Parts(Limits l, SessionEvents& e, BytesPool& p) : limits(l), events(e), outgoing(p), little(p) {}

  const Limits limits;
  SessionEvents& events;
  Outgoing outgoing;
  LittleWrites little;
  nghttp2_session* h2 = nullptr;
  const Bytes* receiving = nullptr;
  std::size_t budget = 0;
  std::vector<nghttp2_nv> pairs;
  std::vector<std::unique_ptr<Stream>> spare;  // closed streams, kept for their capacity
  std::vector<std::unique_ptr<Stream>> live;   // unordered
  std::uint32_t idle_frames = 0;
  bool draining = false;
  bool drain_announced = false;
  bool ending = false;  // terminate() was called: the connection ends with its GOAWAY,
  bool ended = false;   // which has been pulled
  bool dead = false;

  Stream* find(StreamId id) const { return static_cast<Stream*>(nghttp2_session_get_stream_user_data(h2, id)); }

  std::span<const nghttp2_nv> to_pairs(std::span<const Header> headers) {
    pairs.clear();
    for (const Header& header : headers) pairs.push_back(pair_of(header));
    return pairs;
  }

  // Counts a frame that moved no request forward. False: one too many in a row.
  bool tolerates_idle_frame() { return ++idle_frames <= limits.max_idle_frames; }

  void open(StreamId id) {
    StreamEvents* told = draining && drain_announced ? nullptr : events.on_stream(id);
    if (told == nullptr) {
      nghttp2_submit_rst_stream(h2, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);
      return;
    }
    std::unique_ptr<Stream> stream;
    if (spare.empty()) {
      stream = std::make_unique<Stream>();
    } else {
      stream = std::move(spare.back());
      spare.pop_back();
    }
    stream->id = id;
    stream->events = told;
    nghttp2_session_set_stream_user_data(h2, id, stream.get());
    stream->place = live.size();
    live.push_back(std::move(stream));
  }

  void close(Stream* stream, ErrorCode code) {
    StreamEvents* told = std::exchange(stream->events, nullptr);
    const std::size_t unconsumed = std::exchange(stream->unconsumed, 0);
    nghttp2_session_set_stream_user_data(h2, stream->id, nullptr);
    // The connection's window must not shrink by what a dead stream never read.
    if (unconsumed != 0) nghttp2_session_consume_connection(h2, unconsumed);
    std::swap(live[stream->place], live.back());
    live[stream->place]->place = stream->place;
    std::unique_ptr<Stream> owned = std::move(live.back());
    live.pop_back();
    owned->clear();
    if (spare.size() < 256) spare.push_back(std::move(owned));
    told->on_close(code);
  }

  // Not nghttp2's own terminate: that one cannot say why.
  void terminate(ErrorCode code, std::string_view reason) {
    if (ending) return;
    ending = true;
    nghttp2_submit_goaway(h2, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(h2),
                          static_cast<std::uint32_t>(code), bytes_of(reason), reason.size());
  }

  nghttp2_ssize read(Stream& stream, std::size_t length, std::uint32_t* flags) {
    if (stream.unsent == 0 && !stream.finished) {
      stream.deferred = true;
      return NGHTTP2_ERR_DEFERRED;
    }
    const std::size_t size = std::min(length, stream.unsent);
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (size == stream.unsent && stream.finished) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
      if (!stream.trailers.empty()) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        pairs.clear();
        for (const KeptHeader& kept : stream.trailers) pairs.push_back(pair_of(kept.view()));
        nghttp2_submit_trailer(h2, stream.id, pairs.data(), pairs.size());
      }
    }
    return static_cast<nghttp2_ssize>(size);
  }

  int send_data(Stream& stream, const std::uint8_t* head, std::size_t length) {
    if (outgoing.bytes() >= budget) return NGHTTP2_ERR_WOULDBLOCK;
    outgoing.copy(std::as_bytes(std::span(head, 9)));
    stream.unsent -= length;
    while (length > 0) {
      Bytes& front = stream.body[stream.sent];
      if (front.size() > length) {
        outgoing.add(front.slice(0, length));
        front = front.from(length);
        break;
      }
      length -= front.size();
      outgoing.add(std::move(front));
      if (++stream.sent == stream.body.size()) {
        stream.body.clear();
        stream.sent = 0;
      }
    }
    events.on_data_sent();
    if (stream.full && stream.unsent <= kDrained) {
      stream.full = false;
      stream.events->on_drained();
    }
    return 0;
  }

  void resume(Stream& stream) {
    if (!stream.deferred) return;
    stream.deferred = false;
    nghttp2_session_resume_data(h2, stream.id);
  }
};

// nghttp2's callbacks: each finds the stream and says it in our words. A template,
// because Session::Parts is private and only Session's members may name it.
namespace {

template <class P>
struct Callbacks {
  static P& self(void* user) { return *static_cast<P*>(user); }

  static int begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) self(user).open(frame->hd.stream_id);
    return 0;
  }

  static int header(nghttp2_session*, const nghttp2_frame* frame, nghttp2_rcbuf* name, nghttp2_rcbuf* value,
                    std::uint8_t, void* user) {
    Stream* stream = self(user).find(frame->hd.stream_id);
    if (stream == nullptr || stream->head_done || stream->too_large) return 0;
    const std::string_view n = view_of(name), v = view_of(value);
    stream->header_bytes += n.size() + v.size() + 32;
    if (stream->header_bytes > self(user).limits.max_header_bytes) {
      stream->too_large = true;
      return 0;
    }
    stream->events->on_header(n, v);
    return 0;
  }

  static int frame_received(nghttp2_session* h2, const nghttp2_frame* frame, void* user) {
    P& parts = self(user);
    const bool ends = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS:
      case NGHTTP2_DATA: {
        if (ends || frame->hd.length > 0) {
          parts.idle_frames = 0;
        } else if (!parts.tolerates_idle_frame()) {
          return flood(parts);
        }
        Stream* stream = parts.find(frame->hd.stream_id);
        if (stream == nullptr) return 0;
        if (!stream->head_done && frame->hd.type == NGHTTP2_HEADERS) {
          stream->head_done = true;
          stream->events->on_head(stream->too_large);
          stream = parts.find(frame->hd.stream_id);
        }
        if (ends && stream != nullptr) stream->events->on_end();
        return 0;
      }
      case NGHTTP2_PING:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) {
          if (parts.draining && !parts.drain_announced) finish_drain(h2, parts);
          parts.events.on_ping_ack();
          return 0;
        }
        if (!parts.tolerates_idle_frame()) return flood(parts);
        parts.events.on_ping();
        return 0;
      case NGHTTP2_SETTINGS:
      case NGHTTP2_PRIORITY: return parts.tolerates_idle_frame() ? 0 : flood(parts);
      default: return 0;
    }
  }

  static void finish_drain(nghttp2_session* h2, P& parts) {
    parts.drain_announced = true;
    nghttp2_submit_goaway(h2, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(h2), NGHTTP2_NO_ERROR, nullptr,
                          0);
  }

  static int flood(P& parts) {
    parts.terminate(ErrorCode::enhance_your_calm, "too many frames that carry nothing");
    return 0;
  }

  static int data_chunk(nghttp2_session* h2, std::uint8_t, std::int32_t id, const std::uint8_t* data, std::size_t size,
                        void* user) {
    P& parts = self(user);
    Stream* stream = parts.find(id);
    if (stream == nullptr) {
      nghttp2_session_consume(h2, id, size);
      return 0;
    }
    stream->unconsumed += size;
    const auto offset = static_cast<std::size_t>(reinterpret_cast<const std::byte*>(data) - parts.receiving->data());
    stream->events->on_data(parts.receiving->slice(offset, size));
    return 0;
  }

  static int stream_close(nghttp2_session*, std::int32_t id, std::uint32_t code, void* user) {
    P& parts = self(user);
    if (Stream* stream = parts.find(id)) parts.close(stream, static_cast<ErrorCode>(code));
    return 0;
  }

  static int frame_sent(nghttp2_session* h2, const nghttp2_frame* frame, void* user) {
    if (frame->hd.type == NGHTTP2_GOAWAY && self(user).ending) self(user).ended = true;
    if (frame->hd.type != NGHTTP2_HEADERS) return 0;
    self(user).events.on_data_sent();
    // Answered before the request was complete: tell the client that it may stop sending.
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 &&
        nghttp2_session_get_stream_remote_close(h2, frame->hd.stream_id) == 0) {
      nghttp2_submit_rst_stream(h2, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
    }
    return 0;
  }

  static nghttp2_ssize read(nghttp2_session*, std::int32_t, std::uint8_t*, std::size_t length, std::uint32_t* flags,
                            nghttp2_data_source* source, void* user) {
    return self(user).read(*static_cast<Stream*>(source->ptr), length, flags);
  }

  static int send_data(nghttp2_session*, nghttp2_frame* frame, const std::uint8_t* head, std::size_t length,
                       nghttp2_data_source* source, void* user) {
    (void)frame;
    return self(user).send_data(*static_cast<Stream*>(source->ptr), head, length);
  }

  // nghttp2 would stay at 16 KiB frames; go as far as the client and both windows allow.
  static nghttp2_ssize frame_length(nghttp2_session*, std::uint8_t, std::int32_t, std::int32_t connection,
                                    std::int32_t stream, std::uint32_t frame, void*) {
    return std::min<std::int64_t>({connection, stream, frame});
  }

  static nghttp2_session* make(P& parts) {
    nghttp2_session_callbacks* calls = nullptr;
    nghttp2_option* option = nullptr;
    if (nghttp2_session_callbacks_new(&calls) != 0 || nghttp2_option_new(&option) != 0) throw std::bad_alloc();
    nghttp2_session_callbacks_set_on_begin_headers_callback(calls, begin_headers);
    nghttp2_session_callbacks_set_on_header_callback2(calls, header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(calls, frame_received);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(calls, data_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(calls, stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(calls, frame_sent);
    nghttp2_session_callbacks_set_send_data_callback(calls, send_data);
    nghttp2_session_callbacks_set_data_source_read_length_callback2(calls, frame_length);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_stream_reset_rate_limit(option, parts.limits.reset_burst, parts.limits.reset_rate);

    nghttp2_session* h2 = nullptr;
    const int made = nghttp2_session_server_new2(&h2, calls, &parts, option);
    nghttp2_session_callbacks_del(calls);
    nghttp2_option_del(option);
    if (made != 0) throw std::bad_alloc();

    const Limits& limits = parts.limits;
    const std::array<nghttp2_settings_entry, 5> settings{{
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits.max_concurrent_streams},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits.stream_window_bytes},
        {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, limits.max_frame_bytes},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, limits.max_header_bytes},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    }};
    nghttp2_submit_settings(h2, NGHTTP2_FLAG_NONE, settings.data(), settings.size());
    nghttp2_session_set_local_window_size(h2, NGHTTP2_FLAG_NONE, 0,
                                          static_cast<std::int32_t>(limits.connection_window_bytes));
    return h2;
  }
};

}  // namespace

Session::Session(Limits limits, SessionEvents& events, BytesPool& pool)
    : parts_(std::make_unique<Parts>(limits, events, pool)) {
  parts_->h2 = Callbacks<Parts>::make(*parts_);
}

Session::~Session() {
  while (!parts_->live.empty()) parts_->close(parts_->live.back().get(), ErrorCode::cancel);
  nghttp2_session_del(parts_->h2);
}

bool Session::receive(Bytes bytes) {
  if (parts_->dead || parts_->ending) return false;
  parts_->receiving = &bytes;
  const nghttp2_ssize took =
      nghttp2_session_mem_recv2(parts_->h2, reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  parts_->receiving = nullptr;
  if (took >= 0) return !parts_->ending;
  parts_->dead = true;
  const auto code = took == NGHTTP2_ERR_FLOODED ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_PROTOCOL_ERROR;
  nghttp2_session_terminate_session(parts_->h2, code);
  return false;
}

std::size_t Session::pull(std::vector<Bytes>& out, std::size_t budget) {
  Outgoing& outgoing = parts_->outgoing;
  outgoing.begin(out);
  parts_->budget = budget;
  while (outgoing.bytes() < budget && !parts_->ended) {
    const std::uint8_t* piece = nullptr;
    const nghttp2_ssize size = nghttp2_session_mem_send2(parts_->h2, &piece);
    if (size < 0) parts_->dead = true;
    if (size <= 0) break;
    outgoing.copy(std::as_bytes(std::span(piece, static_cast<std::size_t>(size))));
  }
  outgoing.flush();
  return outgoing.bytes();
}

bool Session::wants_pull() const { return !parts_->ended && nghttp2_session_want_write(parts_->h2) != 0; }

bool Session::done() const {
  if (parts_->ended) return true;
  return nghttp2_session_want_write(parts_->h2) == 0 && (parts_->dead || nghttp2_session_want_read(parts_->h2) == 0);
}

void Session::respond(StreamId id, std::span<const Header> head) {
  Stream* stream = parts_->find(id);
  if (stream == nullptr || stream->responded) return;
  stream->responded = true;
  const auto pairs = parts_->to_pairs(head);
  nghttp2_data_provider2 source{};
  source.source.ptr = stream;
  source.read_callback = Callbacks<Parts>::read;
  if (nghttp2_submit_response2(parts_->h2, id, pairs.data(), pairs.size(), &source) != 0) {
    reset(id, ErrorCode::internal_error);
  }
}

void Session::respond_and_finish(StreamId id, std::span<const Header> head) {
  Stream* stream = parts_->find(id);
  if (stream == nullptr || stream->responded) return;
  stream->responded = stream->finished = true;
  const auto pairs = parts_->to_pairs(head);
  if (nghttp2_submit_response2(parts_->h2, id, pairs.data(), pairs.size(), nullptr) != 0) {
    reset(id, ErrorCode::internal_error);
  }
}

void Session::write(StreamId id, Bytes body) {
  Stream* stream = parts_->find(id);
  if (stream == nullptr || stream->finished || body.empty()) return;
  assert(stream->responded);
  stream->unsent += body.size();
  stream->body.push_back(std::move(body));
  if (stream->unsent > kDrained) stream->full = true;
  if (stream->unsent > kShareFrom && !stream->shares) {
    stream->shares = true;
    const nghttp2_extpri shared{NGHTTP2_EXTPRI_DEFAULT_URGENCY, 1};
    nghttp2_session_change_extpri_stream_priority(parts_->h2, id, &shared, 1);
  }
  parts_->resume(*stream);
}

void Session::write_copy(StreamId id, std::span<const std::byte> body) {
  Stream* stream = parts_->find(id);
  if (stream == nullptr || stream->finished || body.empty()) return;
  const std::span<std::byte> to = parts_->little.place(body.size());
  std::memcpy(to.data(), body.data(), body.size());
  Bytes* const last = stream->body.empty() ? nullptr : &stream->body.back();
  if (last != nullptr && last->data() + last->size() == to.data()) {
    *last = Bytes(last->owner(), last->data(), last->size() + body.size());
    stream->unsent += body.size();
    parts_->resume(*stream);
  } else {
    write(id, parts_->little.slice(to));
  }
}

void Session::finish(StreamId id, std::span<const Header> trailers) {
  Stream* stream = parts_->find(id);
  if (stream == nullptr || stream->finished) return;
  assert(stream->responded);
  stream->finished = true;
  for (const Header& header : trailers) stream->trailers.emplace_back(header);
  parts_->resume(*stream);
}

void Session::reset(StreamId id, ErrorCode code) {
  if (parts_->find(id) == nullptr) return;
  nghttp2_submit_rst_stream(parts_->h2, NGHTTP2_FLAG_NONE, id, static_cast<std::uint32_t>(code));
}

void Session::consume(StreamId id, std::size_t size) {
  Stream* stream = parts_->find(id);
  if (stream == nullptr) return;  // close() gave the connection's window back
  assert(size <= stream->unconsumed);
  stream->unconsumed -= size;
  nghttp2_session_consume(parts_->h2, id, size);
}

std::size_t Session::unsent(StreamId id) const {
  const Stream* stream = parts_->find(id);
  return stream == nullptr ? 0 : stream->unsent;
}

std::size_t Session::open_streams() const { return parts_->live.size(); }

void Session::ping() { nghttp2_submit_ping(parts_->h2, NGHTTP2_FLAG_NONE, nullptr); }

void Session::drain() {
  if (parts_->draining) return;
  parts_->draining = true;
  nghttp2_submit_shutdown_notice(parts_->h2);
  ping();
}

bool Session::draining() const { return parts_->draining; }

void Session::terminate(ErrorCode code, std::string_view reason) { parts_->terminate(code, reason); }

}  // namespace argosy::http2
