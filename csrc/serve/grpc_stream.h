#pragma once

// GrpcStream: one HTTP/2 stream as one gRPC call: its head, its messages in, its answers
// and status out. It answers the health calls itself, hands control calls on, and gives
// inferences to the engine, one for ModelInfer and any number for ModelStreamInfer.
//
// A client that leaves cancels all that still runs for it. A ModelStreamInfer client
// that does not read its answers is not read either.
//
// Thread: its connection's loop; whoever holds a reference may drop it anywhere.
// Life:  open until on_close(); after that every answer falls on deaf ears.

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "grpc/framing.h"
#include "grpc/status.h"
#include "http2/session.h"
#include "infer/response.h"
#include "kserve/compress.h"
#include "kserve/gather.h"
#include "net/io_token.h"
#include "serve/control.h"
#include "serve/grpc_answer_order.h"
#include "serve/grpc_method.h"

namespace argosy::serve {

class GrpcConnection;
class GrpcInference;

class GrpcStream final : public http2::StreamEvents,
                         private grpc::MessageRoom,
                         public std::enable_shared_from_this<GrpcStream> {
 public:
  // Keeps itself alive until on_close().
  static http2::StreamEvents* open(GrpcConnection& connection, http2::StreamId id);
  GrpcStream(GrpcConnection& connection, http2::StreamId id);  // open() is the way
  ~GrpcStream();

  void on_drain();  // the server is going: nothing new

  // From its inferences, on the loop.
  void on_answer(const net::IoToken& io, GrpcInference& from, infer::Response response, bool last);

 private:
  struct Waiting {
    std::shared_ptr<GrpcInference> from;
    infer::Response response;
    bool last;
  };

  void on_header(std::string_view name, std::string_view value) override;
  void on_head(bool too_large) override;
  void on_data(Bytes data) override;
  Buffer unfilled() override;
  void on_end() override;
  void on_drained() override;
  void on_close(http2::ErrorCode code) override;

  // In.
  void read(Bytes data);
  Buffer room(std::size_t length, std::span<const std::byte> begin) override;
  void on_message(Bytes message);
  void on_last_message();
  bool throttled() const;
  void resume();
  Result<Bytes> inflated(grpc::Message message) const;

  // Calls.
  void call(const Bytes& message);
  void model_ready(const Bytes& message);
  void control(const Bytes& message);
  void infer(const Bytes& message);
  void refuse_inference(const Status& why, const std::string& id);
  void answer_inference(GrpcInference& from, infer::Response response, bool last);
  bool behind() const;  // the reader is: more answers wait
  void send_waiting(const net::IoToken& io);
  void put(AnswerOrder::Ticket ticket, StreamAnswer answer, bool last);
  void finish_if_done();
  void retire(GrpcInference& inference);

  // Out.
  void respond();
  void send(kserve::Gather message);
  void send(std::string message);
  void end(grpc::Code code, std::string_view message);
  void end(const Status& status) { end(grpc::code_of(status.code()), status.message()); }
  void end_unary(std::string message);
  void refuse_http(std::string_view status);
  void log_access(std::string_view status) const;

  std::shared_ptr<GrpcStream> self_;
  GrpcConnection* connection_;  // null: closed
  const http2::StreamId id_;
  grpc::MessageReader reader_;

  GrpcMethod refused_method_;           // keeps a refused method, which the connection does not
  const GrpcMethod* method_ = nullptr;  // null: no :path yet
  Status head_fault_;                   // the first thing wrong in the head
  std::string_view http_fault_;         // or an HTTP status
  TimePoint deadline_ = TimePoint::max();
  bool content_type_seen_ = false;
  bool guard_passed_ = false;
  bool status_errors_ = false;  // triton_grpc_error: true
  std::string encoding_;        // grpc-encoding, unless identity
  kserve::Coding answer_coding_ = kserve::Coding::identity;
  Headers metadata_;                // for control calls, and what goes on to the model
  std::string asked_, request_id_;  // when accesses are logged

  bool ended_in_ = false;   // the client has said all
  bool ended_out_ = false;  // and so have we
  bool responded_ = false;
  bool has_message_ = false;
  Bytes message_;            // unary: the request, until the client ends
  std::vector<Bytes> held_;  // received while throttled; not consumed, so the window stays shut
  AnswerOrder order_;
  std::vector<std::shared_ptr<GrpcInference>> running_;
  std::list<Waiting> waiting_;  // not encoded: they hold their models back; a list: empty, it owns nothing
};

}  // namespace argosy::serve
