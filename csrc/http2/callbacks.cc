#include <algorithm>
#include <array>
#include <new>
#include <string_view>
#include <utility>

#include "http2/parts.h"

namespace argosy::http2 {
namespace {

std::string_view view_of(nghttp2_rcbuf* text) {
  const nghttp2_vec v = nghttp2_rcbuf_get_buf(text);
  return {reinterpret_cast<const char*>(v.base), v.len};
}

// nghttp2 would stay at 16 KiB frames; go as far as the client and both windows allow.
nghttp2_ssize frame_length(nghttp2_session*, std::uint8_t, std::int32_t, std::int32_t connection, std::int32_t stream,
                           std::uint32_t frame, void*) {
  return std::min<std::int64_t>({connection, stream, frame});
}

}  // namespace

int Session::Parts::begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* user) {
  if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) self(user).open(frame->hd.stream_id);
  return 0;
}

int Session::Parts::header(nghttp2_session*, const nghttp2_frame* frame, nghttp2_rcbuf* name, nghttp2_rcbuf* value,
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

int Session::Parts::frame_received(nghttp2_session*, const nghttp2_frame* frame, void* user) {
  Parts& parts = self(user);
  switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
    case NGHTTP2_DATA: return parts.told_request(frame->hd);
    case NGHTTP2_PING:
      if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) {
        if (parts.draining && !parts.drain_announced) parts.finish_drain();
        parts.events.on_ping_ack();
        return 0;
      }
      if (!parts.tolerates_idle_frame()) return parts.flood();
      parts.events.on_ping();
      return 0;
    case NGHTTP2_SETTINGS:
    case NGHTTP2_PRIORITY: return parts.tolerates_idle_frame() ? 0 : parts.flood();
    default: return 0;
  }
}

// A frame of a request has come to its end.
int Session::Parts::told_request(const nghttp2_frame_hd& frame) {
  const bool ends = (frame.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  if (ends || frame.length > 0) {
    idle_frames = 0;
  } else if (!tolerates_idle_frame()) {
    return flood();
  }
  Stream* stream = find(frame.stream_id);
  if (stream == nullptr) return 0;
  if (!stream->head_done && frame.type == NGHTTP2_HEADERS) {
    stream->head_done = true;
    stream->events->on_head(stream->too_large);
    stream = find(frame.stream_id);
  }
  if (ends && stream != nullptr) stream->events->on_end();
  return 0;
}

// Counts a frame that moved no request forward. False: one too many in a row.
bool Session::Parts::tolerates_idle_frame() { return ++idle_frames <= limits.max_idle_frames; }

int Session::Parts::flood() {
  terminate(ErrorCode::enhance_your_calm, "too many frames that carry nothing");
  return 0;
}

void Session::Parts::finish_drain() {
  drain_announced = true;
  nghttp2_submit_goaway(h2, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(h2), NGHTTP2_NO_ERROR, nullptr,
                        0);
}

int Session::Parts::data_chunk(nghttp2_session* h2, std::uint8_t, std::int32_t id, const std::uint8_t* data,
                               std::size_t size, void* user) {
  Parts& parts = self(user);
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

int Session::Parts::stream_close(nghttp2_session*, std::int32_t id, std::uint32_t code, void* user) {
  Parts& parts = self(user);
  if (Stream* stream = parts.find(id)) parts.close(stream, static_cast<ErrorCode>(code));
  return 0;
}

int Session::Parts::frame_sent(nghttp2_session* h2, const nghttp2_frame* frame, void* user) {
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

nghttp2_ssize Session::Parts::read(nghttp2_session* h2, std::int32_t id, std::uint8_t*, std::size_t length,
                                   std::uint32_t* flags, nghttp2_data_source* source, void* user) {
  Stream& stream = *static_cast<Stream*>(source->ptr);
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
      auto& pairs = self(user).pairs;
      pairs.clear();
      for (const KeptHeader& kept : stream.trailers) pairs.push_back(pair_of(kept.view()));
      nghttp2_submit_trailer(h2, id, pairs.data(), pairs.size());
    }
  }
  return static_cast<nghttp2_ssize>(size);
}

int Session::Parts::send_data(nghttp2_session*, nghttp2_frame*, const std::uint8_t* head, std::size_t length,
                              nghttp2_data_source* source, void* user) {
  Parts& parts = self(user);
  Stream& stream = *static_cast<Stream*>(source->ptr);
  if (parts.outgoing.bytes() >= parts.budget) return NGHTTP2_ERR_WOULDBLOCK;
  parts.outgoing.copy(std::as_bytes(std::span(head, FrameWalk::kHeadBytes)));
  stream.unsent -= length;
  while (length > 0) {
    Bytes& front = stream.body[stream.sent];
    if (front.size() > length) {
      parts.outgoing.add(front.slice(0, length));
      front = front.from(length);
      break;
    }
    length -= front.size();
    parts.outgoing.add(std::move(front));
    if (++stream.sent == stream.body.size()) {
      stream.body.clear();
      stream.sent = 0;
    }
  }
  parts.events.on_data_sent();
  if (stream.full && stream.unsent <= kDrained) {
    stream.full = false;
    stream.events->on_drained();
  }
  return 0;
}

void Session::Parts::open_nghttp2() {
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
  nghttp2_option_set_stream_reset_rate_limit(option, limits.reset_burst, limits.reset_rate);

  const int made = nghttp2_session_server_new2(&h2, calls, this, option);
  nghttp2_session_callbacks_del(calls);
  nghttp2_option_del(option);
  if (made != 0) throw std::bad_alloc();

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
}

}  // namespace argosy::http2
