// What the calls of GrpcStream do; how messages come in and go out is grpc_stream.cc's.

#include <algorithm>
#include <functional>
#include <utility>

#include "kserve/path.h"
#include "kserve/proto_calls.h"
#include "serve/grpc_connection.h"
#include "serve/grpc_inference.h"
#include "serve/grpc_reflection.h"
#include "serve/grpc_stream.h"

namespace argosy::serve {
namespace {

// Carries the control plane's answer to the stream's loop; answers by itself if dropped.
class ControlReturn {
 public:
  ControlReturn(std::shared_ptr<net::Mailbox> mailbox, std::function<void(const net::IoToken&, ControlAnswer)> deliver)
      : mailbox_(std::move(mailbox)), deliver_(std::move(deliver)) {}
  ControlReturn(const ControlReturn&) = delete;
  ~ControlReturn() {
    if (deliver_) send({.status = internal_error("the control plane dropped the request unanswered")});
  }
  void send(ControlAnswer answer) {
    mailbox_->post([deliver = std::exchange(deliver_, nullptr), answer = std::move(answer)](const net::IoToken& io) {
      deliver(io, answer);
    });
  }

 private:
  const std::shared_ptr<net::Mailbox> mailbox_;
  std::function<void(const net::IoToken&, ControlAnswer)> deliver_;
};

}  // namespace

void GrpcStream::call(const Bytes& message) {
  const ServerState& state = connection_->services().state;
  switch (method_->service) {
    case GrpcService::model_infer:
    case GrpcService::model_stream_infer: return infer(message);
    case GrpcService::server_live: return end_unary(kserve::encode_ready(state.live.load(std::memory_order_relaxed)));
    case GrpcService::server_ready: return end_unary(kserve::encode_ready(state.ready.load(std::memory_order_relaxed)));
    case GrpcService::health_check:
      return end_unary(kserve::encode_health(state.ready.load(std::memory_order_relaxed)));
    case GrpcService::model_ready: return model_ready(message);
    case GrpcService::control: return control(message);
    case GrpcService::reflection: {
      auto answer = answer_reflection(message.view(), connection_->services().options.grpc_settings.proto_files);
      if (!answer.ok()) return end(answer.status());
      return send(std::move(*answer));
    }
    case GrpcService::refused: return end(method_->refusal);
  }
}

void GrpcStream::model_ready(const Bytes& message) {
  const auto asked = kserve::decode_model_ready(message.view());
  if (!asked.ok()) return end(asked.status());
  const auto version = kserve::parse_version(asked->version);
  if (!version.ok()) return end(version.status());
  const auto model = connection_->services().engine.find(asked->name, *version);
  if (!model.ok()) return end(model.status());
  // The model may want to be asked itself, elsewhere.
  engine::ask_health(*model, [self = shared_from_this(), mailbox = connection_->mailbox()](const Status& health) {
    mailbox->post([self, ready = health.ok()](const net::IoToken& io) {
      if (self->connection_ == nullptr) return;
      self->end_unary(kserve::encode_ready(ready));
      self->connection_->answer_waits(io);
    });
  });
}

void GrpcStream::control(const Bytes& message) {
  auto way_back = std::make_shared<ControlReturn>(
      connection_->mailbox(), [self = shared_from_this()](const net::IoToken& io, const ControlAnswer& answer) {
        if (self->connection_ == nullptr) return;
        if (answer.status.ok()) {
          self->end_unary(std::string(answer.body.view()));
        } else {
          self->end(answer.status);
        }
        self->connection_->answer_waits(io);
      });
  ControlRequest request{Protocol::grpc, "POST", method_->path, std::move(metadata_), message};
  connection_->services().control.handle(std::move(request),
                                         [way_back](ControlAnswer answer) { way_back->send(std::move(answer)); });
}

void GrpcStream::infer(const Bytes& message) {
  const bool streams = method_->streams();
  Services& services = connection_->services();
  auto decoded = kserve::decode_model_infer(message, connection_->pool(), services.regions);
  const std::string id = decoded.request->id;
  if (!asked_.empty() && !streams) request_id_ = id;
  if (streams && connection_->draining()) {
    return refuse_inference(unavailable("GRPC server is shutting down and has stopped accepting new requests."), id);
  }
  if (!decoded.status.ok()) return refuse_inference(decoded.status, id);
  const auto version = kserve::parse_version(decoded.model_version);
  if (!version.ok()) return refuse_inference(version.status(), id);
  auto model = services.engine.find(decoded.model_name, *version);
  if (!model.ok()) return refuse_inference(model.status(), id);
  const bool decoupled = engine::spec_of(*model).decoupled;
  if (decoupled && !streams) {
    return refuse_inference(unsupported("ModelInfer RPC doesn't support models with decoupled transaction policy"), id);
  }
  for (const auto& [name, value] : metadata_) {
    if (Status status = services.grpc_headers.forward(name, value, *decoded.request); !status.ok()) {
      return refuse_inference(status, id);
    }
  }

  const auto inference = std::make_shared<GrpcInference>(shared_from_this(), decoded, *model);
  infer::RequestPtr request = std::move(decoded.request);
  inference->ticket = streams ? order_.admit(!decoupled) : 0;
  running_.push_back(inference);
  request->deadline = std::min(request->deadline, deadline_);
  request->timings.received = connection_->now();
  // One object: the cancellation lives in the inference.
  request->cancellation = std::shared_ptr<infer::Cancellation>(inference, &inference->cancellation);
  submit(services, connection_->mailbox(), *model, std::move(request), inference, std::move(decoded.regions));
}

void GrpcStream::refuse_inference(const Status& why, const std::string& id) {
  if (!method_->streams()) return end(why);
  put(order_.admit(true), {kserve::encode_stream_refusal(why.message(), id), why}, /*last=*/true);
}

void GrpcStream::on_answer(const net::IoToken& io, GrpcInference& from, infer::Response response, bool last) {
  if (connection_ == nullptr) return;
  if (method_->streams() && !ended_out_ && behind()) {
    const auto running = std::ranges::find(running_, &from, [](const auto& one) { return one.get(); });
    if (running != running_.end()) return waiting_.push_back({*running, std::move(response), last});
  }
  if (last) retire(from);  // the caller holds it until it returns
  if (ended_out_) return;
  connection_->answer_waits(io);
  answer_inference(from, std::move(response), last);
  if (!held_.empty()) resume();
  if (connection_ != nullptr && method_->streams()) finish_if_done();
}

void GrpcStream::send_waiting(const net::IoToken& io) {
  constexpr std::size_t kEnough = 1u << 20;
  if (connection_ == nullptr || waiting_.empty()) return;
  connection_->answer_waits(io);
  while (!waiting_.empty() && connection_->session().unsent(id_) <= kEnough) {
    Waiting next = std::move(waiting_.front());
    waiting_.pop_front();
    if (next.last) retire(*next.from);
    answer_inference(*next.from, std::move(next.response), next.last);
    if (connection_ == nullptr) return;
  }
  if (!held_.empty()) resume();
  if (connection_ != nullptr) finish_if_done();
}

namespace {

Status fits(const kserve::Gather& message) {
  if (message.size <= grpc::kMaxMessageBytes) return {};
  return invalid_argument("Response has byte size " + std::to_string(message.size) +
                          " which exceeds gRPC's byte size limit 2147483647.");
}

}  // namespace

void GrpcStream::answer_inference(GrpcInference& from, infer::Response response, bool last) {
  const model::ModelSpec& spec = engine::spec_of(from.model);
  Status failure = response.status;
  if (!method_->streams()) {
    if (!failure.ok()) {
      const bool late = connection_->services().clock.now() >= deadline_;
      return late ? end(grpc::Code::deadline_exceeded, "Deadline Exceeded") : end(failure);
    }
    auto message = kserve::encode_model_infer(response, from.plan, spec, from.id);
    if (!message.ok()) return end(message.status());
    if (Status size = fits(*message); !size.ok()) return end(size);
    send(std::move(*message));
    return end(grpc::Code::ok, "");
  }

  StreamAnswer answer;
  if (failure.ok() && last && spec.decoupled && response.outputs.empty()) {
    if (from.wants_empty_final) {
      answer.message = kserve::encode_stream_final(from.model_name, from.model_version, from.id);
    }
  } else if (failure.ok()) {
    auto message = kserve::encode_stream_infer(response, from.plan, spec, from.id, last);
    failure = message.ok() ? fits(*message) : message.status();
    if (failure.ok()) answer.message = std::move(*message);
  }
  if (!failure.ok()) {
    answer.message = never_ran(failure) ? kserve::encode_stream_refusal(failure.message(), from.id)
                                        : kserve::encode_stream_failure(failure.message(), from.model_name,
                                                                        from.model_version, from.id);
  }
  answer.failure = std::move(failure);
  put(from.ticket, std::move(answer), last);
}

void GrpcStream::put(AnswerOrder::Ticket ticket, StreamAnswer answer, bool last) {
  std::vector<StreamAnswer> now;
  order_.put(ticket, std::move(answer), last, now);
  for (StreamAnswer& one : now) {
    if (!one.failure.ok() && status_errors_) return end(one.failure);
    if (one.message.size > 0) send(std::move(one.message));
  }
}

void GrpcStream::retire(GrpcInference& inference) {
  std::erase_if(running_, [&](const auto& running) { return running.get() == &inference; });
}

void GrpcStream::on_drain() { finish_if_done(); }

void GrpcStream::finish_if_done() {
  if (ended_out_ || order_.open() != 0 || !held_.empty()) return;
  if (ended_in_) return end(grpc::Code::ok, "");
  if (connection_->draining()) {
    end(unavailable("GRPC server is shutting down and has stopped accepting new requests."));
  }
}

}  // namespace argosy::serve
