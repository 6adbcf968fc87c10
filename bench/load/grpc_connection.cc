// gRPC over HTTP/2 (nghttp2): many unary calls at a time on a connection. Windows are
// opened wide at the start, so that a reader's credit is never what is measured. Large
// messages leave from where they were prepared, in frames as long as the server takes.

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <vector>

#include "load/connection.h"

namespace argosy::load {
namespace {

constexpr std::int32_t kWindowBytes = (1u << 31) - 1;
constexpr std::size_t kOutputBytes = 256 << 10;
// Below this a body is cheaper to copy behind its frame's head than to send as a part of its own.
constexpr std::size_t kCopyBytes = 4096;
constexpr std::size_t kFrameHeadBytes = 9;
constexpr std::size_t kPrefixBytes = 5;  // before each message: whether it is compressed, and its length
constexpr std::array<std::string_view, 17> kCodeNames{
    "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED"};

struct Call {
  std::uint64_t tag = 0;
  std::string_view body;  // what is left to send
  std::array<char, kPrefixBytes> prefix{};
  std::size_t prefix_read = 0;
  Answer answer;  // without the prefix
  int http_status = 0;
  int grpc_status = -1;
  std::string message;
  std::int32_t stream = -1;  // -1: free
};

nghttp2_nv header(std::string_view name, std::string_view value) {
  return {reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data())),
          reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
          NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
}

std::string percent_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned code = 0;
    if (text[i] == '%' && i + 2 < text.size() &&
        std::from_chars(text.data() + i + 1, text.data() + i + 3, code, 16).ec == std::errc()) {
      out += static_cast<char>(code);
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

class GrpcConnection final : public Connection {
 public:
  GrpcConnection(OutcomeListener& listener, std::string authority)
      : Connection(listener), authority_(std::move(authority)) {
    nghttp2_session_callbacks_new(&callbacks_);
    nghttp2_session_callbacks_set_on_header_callback(
        callbacks_, [](nghttp2_session* session, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                       const uint8_t* value, size_t value_size, uint8_t, void*) {
          return on_header(session, frame->hd.stream_id, {reinterpret_cast<const char*>(name), name_size},
                           {reinterpret_cast<const char*>(value), value_size});
        });
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        callbacks_, [](nghttp2_session* session, uint8_t, int32_t stream, const uint8_t* data, size_t size, void*) {
          if (auto* call = static_cast<Call*>(nghttp2_session_get_stream_user_data(session, stream))) {
            on_data(*call, {reinterpret_cast<const char*>(data), size});
          }
          return 0;
        });
    nghttp2_session_callbacks_set_send_data_callback(
        callbacks_, [](nghttp2_session*, nghttp2_frame*, const uint8_t* head, size_t size, nghttp2_data_source* source,
                       void* self) {
          return static_cast<GrpcConnection*>(self)->send_data(*static_cast<Call*>(source->ptr), head, size);
        });
    // nghttp2 would stay at 16 KiB frames; go as far as the server and both windows allow.
    nghttp2_session_callbacks_set_data_source_read_length_callback2(
        callbacks_, [](nghttp2_session*, uint8_t, int32_t, int32_t connection, int32_t stream, uint32_t frame, void*) {
          return static_cast<nghttp2_ssize>(std::min<std::int64_t>({connection, stream, frame}));
        });
    nghttp2_session_callbacks_set_on_stream_close_callback(
        callbacks_, [](nghttp2_session* session, int32_t stream, uint32_t error, void* self) {
          if (auto* call = static_cast<Call*>(nghttp2_session_get_stream_user_data(session, stream))) {
            static_cast<GrpcConnection*>(self)->finish(*call, error);
          }
          return 0;
        });
  }

  ~GrpcConnection() override {
    nghttp2_session_del(session_);
    nghttp2_session_callbacks_del(callbacks_);
  }

  bool takes_more() const override { return is_open() && nghttp2_session_check_request_allowed(session_) != 0; }

  void begin(const Exchange& exchange, std::uint64_t tag, const LikelyBody& likely) override {
    Call& call = free_call();
    call.tag = tag;
    call.body = exchange.body;
    call.prefix_read = 0;
    call.answer.begin(likely);
    call.message.clear();
    call.http_status = 0;
    call.grpc_status = -1;
    const std::array<nghttp2_nv, 7> headers{
        header(":method", "POST"),          header(":scheme", "http"), header(":path", exchange.head),
        header(":authority", authority_),   header("te", "trailers"),  header("content-type", "application/grpc"),
        header("user-agent", "argosy-load")};
    nghttp2_data_provider2 body{};
    body.source.ptr = &call;
    body.read_callback = [](nghttp2_session*, int32_t, uint8_t* to, size_t room, uint32_t* flags,
                            nghttp2_data_source* source, void*) {
      auto& call = *static_cast<Call*>(source->ptr);
      const std::size_t size = std::min(room, call.body.size());
      if (size == call.body.size()) *flags |= NGHTTP2_DATA_FLAG_EOF;
      if (size > kCopyBytes) {
        *flags |= NGHTTP2_DATA_FLAG_NO_COPY;  // send_data() takes it
      } else {
        std::memcpy(to, call.body.data(), size);
        call.body.remove_prefix(size);
      }
      return static_cast<nghttp2_ssize>(size);
    };
    call.stream = nghttp2_submit_request2(session_, nullptr, headers.data(), headers.size(), &body, &call);
  }

 private:
  void on_connected() override {
    nghttp2_session_del(session_);
    nghttp2_option* option = nullptr;
    nghttp2_option_new(&option);
    // Closed streams are of no further use here.
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_session_client_new2(&session_, callbacks_, this, option);
    nghttp2_option_del(option);
    const std::array<nghttp2_settings_entry, 3> settings{
        {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
         {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, static_cast<std::uint32_t>(kWindowBytes)},
         {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, 1 << 20}}};
    nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), settings.size());
    nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, kWindowBytes);
  }

  Status on_bytes(std::string_view bytes) override {
    const auto used =
        nghttp2_session_mem_recv2(session_, reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
    if (used < 0)
      return internal_error(std::string("the answer is no valid HTTP/2: ") + nghttp2_strerror(static_cast<int>(used)));
    if (nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0) {
      return unavailable("the server said GOAWAY");
    }
    // Acknowledgements, credit, and the exchanges begun while these bytes were read.
    if (nghttp2_session_want_write(session_) != 0) flush();
    return {};
  }

  void fill_output() override {
    const std::uint8_t* data = nullptr;
    while (output_bytes() < kOutputBytes) {
      const auto size = nghttp2_session_mem_send2(session_, &data);
      if (size <= 0) return;
      output().append(reinterpret_cast<const char*>(data), static_cast<std::size_t>(size));
    }
  }

  int send_data(Call& call, const std::uint8_t* head, std::size_t size) {
    if (output_bytes() >= kOutputBytes) return NGHTTP2_ERR_WOULDBLOCK;
    output().append(reinterpret_cast<const char*>(head), kFrameHeadBytes);
    send_after_output(call.body.substr(0, size));
    call.body.remove_prefix(size);
    return 0;
  }

  static void on_data(Call& call, std::string_view data) {
    const std::size_t part = std::min(kPrefixBytes - call.prefix_read, data.size());
    std::memcpy(call.prefix.data() + call.prefix_read, data.data(), part);
    call.prefix_read += part;
    if (part < data.size()) call.answer.append(data.substr(part));
  }

  void on_closed(const Status& why) override {
    for (auto& call : calls_) {
      if (call->stream < 0) continue;
      call->stream = -1;
      free_.push_back(call.get());
      listener().on_outcome(*this, call->tag, {why, {}});
    }
  }

  static int on_header(nghttp2_session* session, std::int32_t stream, std::string_view name, std::string_view value) {
    auto* call = static_cast<Call*>(nghttp2_session_get_stream_user_data(session, stream));
    if (call == nullptr) return 0;
    if (name == ":status") std::from_chars(value.data(), value.data() + value.size(), call->http_status);
    if (name == "grpc-status") std::from_chars(value.data(), value.data() + value.size(), call->grpc_status);
    if (name == "grpc-message") call->message = percent_decoded(value);
    return 0;
  }

  static Status verdict(const Call& call, std::uint32_t error) {
    if (error != NGHTTP2_NO_ERROR && call.grpc_status < 0)
      return unavailable(std::string("stream reset: ") + nghttp2_http2_strerror(error));
    if (call.http_status != 200)
      return internal_error("HTTP status " + std::to_string(call.http_status) + " instead of a gRPC answer");
    if (call.grpc_status < 0) return internal_error("the answer has no grpc-status");
    if (call.grpc_status > 0) {
      const auto code = static_cast<std::size_t>(call.grpc_status);
      return internal_error((code < kCodeNames.size() ? std::string(kCodeNames[code]) : std::to_string(code)) + ": " +
                            call.message.substr(0, 200));
    }
    if (call.prefix_read < kPrefixBytes) return internal_error("the answer has no message");
    if (call.prefix[0] != 0) return internal_error("the answer is compressed, which was not offered");
    return {};
  }

  void finish(Call& call, std::uint32_t error) {
    call.stream = -1;
    Outcome outcome{verdict(call, error), {}};
    if (outcome.status.ok()) outcome.body = call.answer.body();
    listener().on_outcome(*this, call.tag, outcome);
    // Freed after the listener: an exchange begun in there must not take over this body.
    free_.push_back(&call);
  }

  Call& free_call() {
    if (free_.empty()) {
      calls_.push_back(std::make_unique<Call>());
      return *calls_.back();
    }
    Call& call = *free_.back();
    free_.pop_back();
    return call;
  }

  const std::string authority_;
  nghttp2_session_callbacks* callbacks_ = nullptr;
  nghttp2_session* session_ = nullptr;
  std::vector<std::unique_ptr<Call>> calls_;  // addresses are given to nghttp2
  std::vector<Call*> free_;
};

}  // namespace

std::unique_ptr<Connection> make_grpc_connection(OutcomeListener& listener, std::string authority) {
  return std::make_unique<GrpcConnection>(listener, std::move(authority));
}

}  // namespace argosy::load
