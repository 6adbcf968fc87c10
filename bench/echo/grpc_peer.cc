// gRPC: nghttp2 finds the message; the answer to ModelInfer is the first raw input.

#include <nghttp2/nghttp2.h>

#include <array>
#include <cstring>
#include <unordered_map>

#include "echo/peer.h"
#include "load/proto_wire.h"

namespace argosy::echo {
namespace {

using load::append_bytes_field;
using load::append_varint;

struct Stream {
  std::string path;
  std::string request;
  std::string answer;
  std::size_t sent = 0;
};

nghttp2_nv header(std::string_view name, std::string_view value) {
  return {reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data())),
          reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
          NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
}

std::string tensor_metadata(std::string_view name, int elements) {
  std::string dims;
  append_varint(dims, static_cast<std::uint64_t>(elements));
  std::string tensor;
  append_bytes_field(tensor, 1, name);
  append_bytes_field(tensor, 2, "FP32");
  append_bytes_field(tensor, 3, dims);
  return tensor;
}

class GrpcPeer final : public Peer {
 public:
  explicit GrpcPeer(const EchoModel& model) : model_(model) {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_begin_headers_callback(
        callbacks, [](nghttp2_session* session, const nghttp2_frame* frame, void* self) {
          if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
          auto& stream = static_cast<GrpcPeer*>(self)->streams_[frame->hd.stream_id];
          stream = std::make_unique<Stream>();
          nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, stream.get());
          return 0;
        });
    nghttp2_session_callbacks_set_on_header_callback(
        callbacks, [](nghttp2_session* session, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                      const uint8_t* value, size_t value_size, uint8_t, void*) {
          auto* stream = stream_of(session, frame->hd.stream_id);
          if (stream != nullptr && std::string_view(reinterpret_cast<const char*>(name), name_size) == ":path") {
            stream->path.assign(reinterpret_cast<const char*>(value), value_size);
          }
          return 0;
        });
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        callbacks, [](nghttp2_session* session, uint8_t, int32_t id, const uint8_t* data, size_t size, void*) {
          if (auto* stream = stream_of(session, id)) stream->request.append(reinterpret_cast<const char*>(data), size);
          return 0;
        });
    nghttp2_session_callbacks_set_on_frame_recv_callback(
        callbacks, [](nghttp2_session* session, const nghttp2_frame* frame, void* self) {
          if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return 0;
          if (auto* stream = stream_of(session, frame->hd.stream_id))
            static_cast<GrpcPeer*>(self)->answer(frame->hd.stream_id, *stream);
          return 0;
        });
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks,
                                                           [](nghttp2_session*, int32_t id, uint32_t, void* self) {
                                                             static_cast<GrpcPeer*>(self)->streams_.erase(id);
                                                             return 0;
                                                           });
    nghttp2_session_server_new(&session_, callbacks, this);
    nghttp2_session_callbacks_del(callbacks);
    constexpr std::int32_t kWindow = (1u << 31) - 1;
    const std::array<nghttp2_settings_entry, 3> settings{
        {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 100'000},
         {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, static_cast<std::uint32_t>(kWindow)},
         {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, 1 << 20}}};
    nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), settings.size());
    nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, kWindow);
  }

  ~GrpcPeer() override { nghttp2_session_del(session_); }

  bool on_bytes(std::string_view bytes, std::string& out) override {
    if (nghttp2_session_mem_recv2(session_, reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()) < 0)
      return false;
    const std::uint8_t* data = nullptr;
    for (;;) {
      const auto size = nghttp2_session_mem_send2(session_, &data);
      if (size < 0) return false;
      if (size == 0) break;
      out.append(reinterpret_cast<const char*>(data), static_cast<std::size_t>(size));
    }
    return nghttp2_session_want_read(session_) != 0 || nghttp2_session_want_write(session_) != 0;
  }

 private:
  static Stream* stream_of(nghttp2_session* session, std::int32_t id) {
    return static_cast<Stream*>(nghttp2_session_get_stream_user_data(session, id));
  }

  std::string message_for(const Stream& stream) const {
    std::string message;
    append_bytes_field(message, 1, model_.name);
    append_bytes_field(message, 2, "1");
    if (stream.path.ends_with("/ModelMetadata")) {
      append_bytes_field(message, 3, "echo");
      append_bytes_field(message, 4, tensor_metadata("INPUT0", model_.elements));
      append_bytes_field(message, 5, tensor_metadata("OUTPUT0", model_.elements));
      return message;
    }
    std::string_view dims;
    std::string_view raw;
    load::ProtoReader request(std::string_view(stream.request).substr(std::min<std::size_t>(5, stream.request.size())));
    while (request.next()) {
      if (request.field() == 7 && raw.empty()) raw = request.bytes();
      if (request.field() != 5 || !dims.empty()) continue;
      load::ProtoReader input(request.bytes());
      while (input.next()) {
        if (input.field() == 3) dims = input.bytes();
      }
    }
    std::string output;
    append_bytes_field(output, 1, "OUTPUT0");
    append_bytes_field(output, 2, "FP32");
    append_bytes_field(output, 3, dims);
    append_bytes_field(message, 5, output);
    append_bytes_field(message, 6, raw);
    return message;
  }

  void answer(std::int32_t id, Stream& stream) {
    const std::array<nghttp2_nv, 2> head{header(":status", "200"), header("content-type", "application/grpc")};
    if (!stream.path.ends_with("/ModelInfer") && !stream.path.ends_with("/ModelMetadata")) {
      const std::array<nghttp2_nv, 3> refused{head[0], head[1], header("grpc-status", "12")};
      nghttp2_submit_response2(session_, id, refused.data(), refused.size(), nullptr);
      return;
    }
    const std::string message = message_for(stream);
    stream.answer.assign(1, '\0');
    for (int shift = 24; shift >= 0; shift -= 8) stream.answer += static_cast<char>(message.size() >> shift & 0xFF);
    stream.answer += message;
    nghttp2_data_provider2 body{};
    body.source.ptr = &stream;
    body.read_callback = [](nghttp2_session* session, int32_t stream_id, uint8_t* to, size_t room, uint32_t* flags,
                            nghttp2_data_source* source, void*) {
      auto& s = *static_cast<Stream*>(source->ptr);
      const std::size_t size = std::min(room, s.answer.size() - s.sent);
      std::memcpy(to, s.answer.data() + s.sent, size);
      s.sent += size;
      if (s.sent == s.answer.size()) {
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        const nghttp2_nv trailer = header("grpc-status", "0");
        nghttp2_submit_trailer(session, stream_id, &trailer, 1);
      }
      return static_cast<nghttp2_ssize>(size);
    };
    nghttp2_submit_response2(session_, id, head.data(), head.size(), &body);
  }

  const EchoModel model_;
  nghttp2_session* session_ = nullptr;
  std::unordered_map<std::int32_t, std::unique_ptr<Stream>> streams_;
};

}  // namespace

std::unique_ptr<Peer> make_grpc_peer(const EchoModel& model) { return std::make_unique<GrpcPeer>(model); }

}  // namespace argosy::echo
