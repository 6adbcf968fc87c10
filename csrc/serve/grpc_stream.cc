#include "serve/grpc_stream.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/log.h"
#include "grpc/timeout.h"
#include "kserve/proto_peek.h"
#include "serve/grpc_connection.h"
#include "serve/grpc_inference.h"
#include "serve/model_room.h"

namespace argosy::serve {
namespace {

constexpr http2::Header kOk{":status", "200", true};
constexpr http2::Header kContentType{"content-type", "application/grpc", true};

// Below this a whole answer is copied next to its neighbours rather than kept in pieces.
constexpr std::size_t kLittle = 1024;

bool is_grpc(std::string_view content_type) {
  constexpr std::string_view kGrpc = "application/grpc";
  return content_type.starts_with(kGrpc) && (content_type.size() == kGrpc.size() || content_type[kGrpc.size()] == '+' ||
                                             content_type[kGrpc.size()] == ';');
}

// Headers that belong to the transport; the rest is the caller's metadata.
bool is_metadata(std::string_view name) {
  return !name.starts_with(':') && !name.starts_with("grpc-") && name != "te" && name != "content-type";
}

int zlib_level(CompressionLevel level) {
  switch (level) {
    case CompressionLevel::none:
    case CompressionLevel::low: return 1;
    case CompressionLevel::medium: return 6;
    case CompressionLevel::high: return 9;
  }
  return 6;
}

// `grpc-accept-encoding: identity, deflate, gzip`
kserve::Coding best_of(std::string_view accepted) {
  if (accepted.find("gzip") != std::string_view::npos) return kserve::Coding::gzip;
  if (accepted.find("deflate") != std::string_view::npos) return kserve::Coding::deflate;
  return kserve::Coding::identity;
}

}  // namespace

http2::StreamEvents* GrpcStream::open(GrpcConnection& connection, http2::StreamId id) {
  auto stream = std::make_shared<GrpcStream>(connection, id);
  stream->self_ = stream;
  return stream.get();
}

GrpcStream::GrpcStream(GrpcConnection& connection, http2::StreamId id)
    : connection_(&connection), id_(id), reader_(connection.services().options.grpc_settings.max_message_bytes) {}

GrpcStream::~GrpcStream() = default;

void GrpcStream::on_header(std::string_view name, std::string_view value) {
  const auto fault = [&](Status status) {
    if (head_fault_.ok()) head_fault_ = std::move(status);
  };
  if (name == ":path") {
    if (connection_->services().options.access_log) asked_ = value;
    method_ = &connection_->method(value);
    if (method_->service == GrpcService::refused) {
      refused_method_ = *method_;
      method_ = &refused_method_;
    }
    guard_passed_ = method_->guard_name.empty();
    return;
  }
  if (name == ":method") {
    if (value != "POST") http_fault_ = "405";
    return;
  }
  if (name == "content-type") {
    content_type_seen_ = true;
    if (!is_grpc(value)) http_fault_ = "415";
    return;
  }
  if (method_ == nullptr) return;
  if (name == "te") {
    if (value != "trailers") fault(internal_error("te: expected 'trailers', got '" + std::string(value) + "'"));
  } else if (name == "grpc-timeout") {
    const auto timeout = grpc::parse_timeout(value);
    if (!timeout) return fault(internal_error("grpc-timeout: '" + std::string(value) + "' is no timeout"));
    // A duration too long to add is no deadline.
    const auto room = std::chrono::duration_cast<Micros>(TimePoint::max() - connection_->now());
    if (*timeout < room) deadline_ = connection_->now() + *timeout;
  } else if (name == "grpc-encoding") {
    if (value != "identity") encoding_ = value;
    if (!encoding_.empty() && encoding_ != "gzip" && encoding_ != "deflate") {
      fault(unsupported("grpc-encoding: '" + encoding_ + "' is not served; identity, deflate and gzip are"));
    }
  } else if (name == "grpc-accept-encoding") {
    const auto level = connection_->services().options.grpc_settings.response_compression;
    if (level != CompressionLevel::none && method_->infers()) answer_coding_ = best_of(value);
  } else if (is_metadata(name)) {
    if (!guard_passed_ && name == method_->guard_name) guard_passed_ = value == method_->guard_value;
    if (name == "triton_grpc_error") status_errors_ = value == "true";
    const bool wanted = method_->service == GrpcService::control ||
                        (method_->infers() && connection_->services().grpc_headers.matches(name));
    if (wanted) metadata_.emplace_back(name, value);
  }
}

void GrpcStream::on_head(bool too_large) {
  if (!http_fault_.empty()) return refuse_http(http_fault_);
  if (!content_type_seen_) return refuse_http("415");
  if (too_large) return end(resource_exhausted("the request's metadata is too large"));
  if (method_ == nullptr) return refuse_http("400");
  if (!guard_passed_) return end(unavailable(method_->guard_text));
  if (method_->service == GrpcService::refused) return end(method_->refusal);
  if (!head_fault_.ok()) return end(head_fault_);
  if (!method_->streams()) return;
  connection_->add_long_stream(*this);
  if (connection_->draining()) on_drain();
}

void GrpcStream::on_data(Bytes data) {
  if (ended_out_) {
    connection_->session().consume(id_, data.size());
  } else if (throttled() || !held_.empty()) {
    held_.push_back(std::move(data));
  } else {
    read(std::move(data));
  }
}

Buffer GrpcStream::unfilled() {
  // Data that waits is not read in its turn, so what comes next has no place yet.
  return ended_out_ || throttled() || !held_.empty() ? Buffer() : reader_.unfilled();
}

void GrpcStream::read(Bytes data) {
  while (!data.empty()) {
    if (!ended_out_ && throttled()) {
      held_.insert(held_.begin(), std::move(data));
      return;
    }
    const std::size_t before = data.size();
    if (ended_out_) {
      data = {};
    } else if (auto next = reader_.next(data, connection_->pool(), method_->infers() ? this : nullptr); !next.ok()) {
      data = {};
      end(next.status());
    } else if (*next) {
      auto message = inflated(std::move(**next));
      if (message.ok()) {
        on_message(std::move(*message));
      } else {
        end(message.status());
      }
    }
    connection_->session().consume(id_, before - data.size());
  }
}

Buffer GrpcStream::room(std::size_t length, std::span<const std::byte> begin) {
  if (length <= kLargeTensor) return {};
  const std::string_view text(reinterpret_cast<const char*>(begin.data()), begin.size());
  const auto peek = kserve::peek_model_infer(text.substr(0, length), length, kLargeTensor);
  if (!peek) return {};
  return model_room(connection_->services(), peek->model_name, peek->model_version, length, peek->first_large);
}

Result<Bytes> GrpcStream::inflated(grpc::Message message) const {
  if (!message.compressed) return std::move(message.bytes);
  if (encoding_.empty()) return internal_error("a compressed message came without grpc-encoding");
  auto bytes = kserve::inflate_body(message.bytes, connection_->services().options.grpc_settings.max_message_bytes);
  if (!bytes.ok() && bytes.status().code() == StatusCode::invalid_argument) {
    return internal_error("a message's " + encoding_ + " data cannot be read: " + bytes.status().message());
  }
  return bytes;
}

void GrpcStream::on_message(Bytes message) {
  if (method_->streams()) return call(message);
  if (has_message_) return end(internal_error("a unary call sent more than one message"));
  has_message_ = true;
  message_ = std::move(message);
}

void GrpcStream::on_end() {
  ended_in_ = true;
  if (ended_out_) return;
  if (held_.empty()) on_last_message();
}

void GrpcStream::on_last_message() {
  if (!reader_.between_messages()) return end(internal_error("the request ends inside a message"));
  if (method_->streams()) return finish_if_done();
  if (!has_message_) return end(internal_error("a unary call ended without a message"));
  call(std::exchange(message_, {}));
}

// More answers than a client reads, or more requests than it makes sense to hold.
bool GrpcStream::throttled() const {
  constexpr std::size_t kMostRunning = 1024;
  if (method_ == nullptr || !method_->streams()) return false;
  return order_.open() >= kMostRunning || behind();
}

bool GrpcStream::behind() const {
  constexpr std::size_t kMostUnsent = 4u << 20;
  return !waiting_.empty() || connection_->session().unsent(id_) > kMostUnsent;
}

void GrpcStream::resume() {
  while (!held_.empty() && !throttled() && connection_ != nullptr) {
    Bytes data = std::move(held_.front());
    held_.erase(held_.begin());
    read(std::move(data));
  }
  if (held_.empty() && ended_in_ && !ended_out_) on_last_message();
}

void GrpcStream::on_drained() {
  if (!waiting_.empty()) {
    // Not now: the session is taking what was written.
    connection_->mailbox()->post([self = shared_from_this()](const net::IoToken& io) { self->send_waiting(io); });
  } else if (!held_.empty()) {
    resume();
  }
}

void GrpcStream::on_close(http2::ErrorCode) {
  const auto self = std::move(self_);  // perhaps the last reference
  if (!ended_out_) log_access(grpc::to_digits(grpc::Code::cancelled));
  connection_->stream_closed(*this);
  connection_ = nullptr;
  ended_out_ = true;
  waiting_.clear();
  for (const auto& inference : std::exchange(running_, {})) inference->cancellation.cancel();
}

void GrpcStream::respond() {
  if (responded_) return;
  responded_ = true;
  const std::array<http2::Header, 3> head{
      kOk, kContentType, {"grpc-encoding", answer_coding_ == kserve::Coding::gzip ? "gzip" : "deflate", true}};
  const bool coded = answer_coding_ != kserve::Coding::identity;
  connection_->session().respond(id_, std::span(head).first(coded ? 3 : 2));
}

void GrpcStream::send(kserve::Gather message) {
  respond();
  bool compressed = false;
  if (answer_coding_ != kserve::Coding::identity) {
    const auto level = zlib_level(connection_->services().options.grpc_settings.response_compression);
    if (auto smaller = kserve::deflate_body(message, answer_coding_, connection_->pool(), level); smaller.ok()) {
      message = std::move(*smaller);
      compressed = true;
    }
  }
  http2::Session& session = connection_->session();
  session.write_copy(id_, grpc::message_prefix(message.size, compressed));
  const bool little = message.size <= kLittle;
  for (Bytes& piece : message.pieces) {
    if (little) {
      session.write_copy(id_, piece.span());
    } else {
      session.write(id_, std::move(piece));
    }
  }
}

void GrpcStream::send(std::string message) {
  kserve::Gather whole;
  whole.add(Bytes::take(std::move(message)));
  send(std::move(whole));
}

void GrpcStream::end_unary(std::string message) {
  if (ended_out_) return;
  send(std::move(message));
  end(grpc::Code::ok, "");
}

void GrpcStream::end(grpc::Code code, std::string_view message) {
  if (ended_out_) return;
  ended_out_ = true;
  log_access(grpc::to_digits(code));
  waiting_.clear();
  for (const Bytes& data : std::exchange(held_, {})) connection_->session().consume(id_, data.size());
  for (const auto& inference : running_) inference->cancellation.cancel();
  const std::string encoded = grpc::message_value(message);
  const std::array<http2::Header, 4> all{
      kOk, kContentType, {"grpc-status", grpc::to_digits(code), true}, {"grpc-message", encoded}};
  const std::size_t count = encoded.empty() ? 3 : 4;
  if (responded_) {
    connection_->session().finish(id_, std::span(all).subspan(2, count - 2));
  } else {
    responded_ = true;
    connection_->session().respond_and_finish(id_, std::span(all).first(count));
  }
}

void GrpcStream::refuse_http(std::string_view status) {
  ended_out_ = responded_ = true;
  log_access(status);
  const std::array<http2::Header, 1> head{{{":status", status, true}}};
  connection_->session().respond_and_finish(id_, head);
}

// One line a call, when its status is known; nothing unless it was asked for.
void GrpcStream::log_access(std::string_view status) const {
  if (asked_.empty()) return;
  log(LogLevel::info, connection_->peer() + " gRPC " + asked_ + " " + std::string(status), {.request_id = request_id_});
}

}  // namespace argosy::serve
