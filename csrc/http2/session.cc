#include "http2/session.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>

#include "http2/parts.h"

namespace argosy::http2 {
namespace {

// Large answers share the connection frame by frame from here on; small ones leave whole.
constexpr std::size_t kShareFrom = 64u << 10;

}  // namespace

void Session::Parts::open(StreamId id) {
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

void Session::Parts::close(Stream* stream, ErrorCode code) {
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
void Session::Parts::terminate(ErrorCode code, std::string_view reason) {
  if (ending) return;
  ending = true;
  nghttp2_submit_goaway(h2, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(h2),
                        static_cast<std::uint32_t>(code), bytes_of(reason), reason.size());
}

void Session::Parts::resume(Stream& stream) {
  if (!stream.deferred) return;
  stream.deferred = false;
  nghttp2_session_resume_data(h2, stream.id);
}

Session::Session(Limits limits, SessionEvents& events, BytesPool& pool)
    : parts_(std::make_unique<Parts>(limits, events, pool)) {
  parts_->open_nghttp2();
}

Session::~Session() {
  while (!parts_->live.empty()) parts_->close(parts_->live.back().get(), ErrorCode::cancel);
  nghttp2_session_del(parts_->h2);
}

bool Session::receive(Bytes bytes) {
  if (parts_->dead || parts_->ending) return false;
  parts_->receiving = &bytes;
  parts_->input.advance(bytes.span());
  const nghttp2_ssize took =
      nghttp2_session_mem_recv2(parts_->h2, reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  parts_->receiving = nullptr;
  if (took >= 0) return !parts_->ending;
  parts_->dead = true;
  const auto code = took == NGHTTP2_ERR_FLOODED ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_PROTOCOL_ERROR;
  nghttp2_session_terminate_session(parts_->h2, code);
  return false;
}

const FrameWalk& Session::input() const { return parts_->input; }

Buffer Session::unfilled(StreamId id) const {
  const Stream* stream = parts_->find(id);
  return stream == nullptr ? Buffer() : stream->events->unfilled();
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
  source.read_callback = Parts::read;
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
