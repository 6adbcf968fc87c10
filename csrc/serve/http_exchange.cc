#include "serve/http_exchange.h"

#include <utility>

#include "kserve/generate.h"
#include "kserve/json_infer.h"
#include "metrics/prometheus.h"
#include "serve/http_connection.h"

namespace argosy::serve {
namespace {

constexpr std::string_view kJson = "application/json";

kserve::Gather gather(Bytes bytes) {
  kserve::Gather body;
  body.add(std::move(bytes));
  return body;
}

kserve::JsonLimits json_limits(const Services& services) { return {services.options.limits.max_input_bytes}; }

// The trace id of a W3C traceparent: 00-<32 hex>-<16 hex>-<2 hex>.
std::string trace_id_of(const http1::Head& head) {
  const std::string_view* parent = head.find("traceparent");
  if (parent == nullptr || parent->size() < 55 || (*parent)[2] != '-' || (*parent)[35] != '-') return {};
  const std::string_view id = parent->substr(3, 32);
  return id.find_first_not_of("0123456789abcdef") == std::string_view::npos ? std::string(id) : std::string();
}

const RestrictedApi* restriction(const Services& services, kserve::Api api) {
  if (services.options.http_restricted.empty() || api == kserve::Api::none) return nullptr;
  for (const RestrictedApi& rule : services.options.http_restricted) {
    if (rule.category == kserve::to_string(api)) return &rule;
  }
  return nullptr;
}

// The answer of the control handler on its way back; a dropped one is a 500.
class PendingControl {
 public:
  PendingControl(std::shared_ptr<net::Mailbox> mailbox, std::function<void(const net::IoToken&, ControlAnswer)> deliver)
      : mailbox_(std::move(mailbox)), deliver_(std::move(deliver)) {}
  ~PendingControl() { send({internal_error("control request was dropped unanswered"), 500, {}, {}}); }

  void send(ControlAnswer answer) {
    if (sent_.exchange(true, std::memory_order_acq_rel)) return;
    mailbox_->post([deliver = std::move(deliver_), answer = std::move(answer)](const net::IoToken& io) mutable {
      deliver(io, std::move(answer));
    });
  }

 private:
  std::shared_ptr<net::Mailbox> mailbox_;
  std::function<void(const net::IoToken&, ControlAnswer)> deliver_;
  std::atomic<bool> sent_{false};  // exactly one sender moves deliver_ out
};

struct ControlCount {
  explicit ControlCount(std::shared_ptr<std::atomic<std::size_t>> c) : count(std::move(c)) {
    count->fetch_add(1, std::memory_order_relaxed);
  }
  ~ControlCount() { count->fetch_sub(1, std::memory_order_release); }
  std::shared_ptr<std::atomic<std::size_t>> count;
};

}  // namespace

HttpReply error_reply(int status, std::string_view message) {
  return {status, kJson, {}, gather(Bytes::take(kserve::encode_error(message)))};
}

HttpReply error_reply(const Status& status) {
  HttpReply reply = error_reply(kserve::http_status(status.code()), status.message());
  if (reply.status == 503) reply.fields.emplace_back("Retry-After", "1");
  return reply;
}

void HttpExchange::abandon() {
  connection_ = nullptr;
  waiting_.clear();
  cancellation_.cancel();
}

void HttpExchange::answer(const net::IoToken& io, HttpReply reply) {
  if (connection_ != nullptr) connection_->answered(io, *this, std::move(reply));
}

void HttpExchange::start(const net::IoToken& io, const http1::Head& head, Bytes body, const kserve::Route& route) {
  if (const RestrictedApi* rule = restriction(connection_->services(), route.api)) {
    const std::string_view* shown = head.find(rule->key);
    if (shown == nullptr || *shown != rule->value) {
      return answer(io, error_reply(403, "This API is restricted, expecting header '" + rule->key + "'"));
    }
  }
  if (const auto* call = std::get_if<kserve::InferCall>(&route.target)) return infer(io, head, std::move(body), *call);
  if (const auto* call = std::get_if<kserve::HealthCall>(&route.target)) return health(io, *call);
  if (const auto* call = std::get_if<kserve::MetricsCall>(&route.target)) return metrics(io, call->known);
  if (std::holds_alternative<kserve::ControlCall>(route.target)) return control(io, head, std::move(body));
  if (const auto* missing = std::get_if<kserve::NotServedYet>(&route.target)) {
    return answer(io, error_reply(501, missing->text));
  }
  if (std::holds_alternative<kserve::MethodNotAllowed>(route.target)) {
    return answer(io, error_reply(405, "Method Not Allowed"));
  }
  answer(io, error_reply(404, "Not Found"));
}

void HttpExchange::health(const net::IoToken& io, const kserve::HealthCall& call) {
  Services& services = connection_->services();
  if (call.question != kserve::HealthQuestion::model_ready) {
    const ServerState& state = services.state;
    if (state.draining.load(std::memory_order_relaxed)) return answer(io, error_reply(503, "Server exiting"));
    const auto& asked = call.question == kserve::HealthQuestion::live ? state.live : state.ready;
    return answer(io, {asked.load(std::memory_order_relaxed) ? 200 : 400, {}, {}, {}});
  }
  const auto version = kserve::parse_version(call.version);
  if (!version.ok()) return answer(io, error_reply(version.status()));
  const auto model = services.engine.find(call.model, *version);
  if (!model.ok()) return answer(io, error_reply(model.status()));
  // The model may want to be asked itself, elsewhere.
  engine::ask_health(*model, [self = shared_from_this(), mailbox = connection_->connection().loop().mailbox(),
                              counted = std::make_shared<ControlCount>(services.running)](const Status& health) {
    mailbox->post([self, counted, ready = health.ok()](const net::IoToken& token) {
      self->answer(token, ready ? HttpReply() : error_reply(400, "Model version not ready"));
    });
  });
}

void HttpExchange::metrics(const net::IoToken& io, bool known) {
  constexpr std::string_view kText = "text/plain; charset=utf-8";
  if (!known) return answer(io, {200, kText, {}, {}});
  answer(io,
         {200, kText, {}, gather(Bytes::take(metrics::prometheus_text(connection_->services().metrics.collect())))});
}

bool HttpExchange::inflate(const net::IoToken& io, const http1::Head& head, Bytes& body) {
  const std::string_view* header = head.find("content-encoding");
  if (header == nullptr) return true;
  const auto coding = kserve::parse_content_encoding(*header);
  if (!coding) {
    HttpReply reply = error_reply(501, "Unsupported compression type");
    reply.fields.emplace_back("Accept-Encoding", "gzip, deflate");
    answer(io, std::move(reply));
    return false;
  }
  if (*coding == kserve::Coding::identity) return true;
  if (body.empty()) {
    answer(io, error_reply(400, "nothing to be decompressed"));
    return false;
  }
  auto plain = kserve::inflate_body(body, connection_->services().options.limits.max_input_bytes);
  if (!plain.ok()) {
    answer(io, error_reply(plain.status()));
    return false;
  }
  body = std::move(*plain);
  return true;
}

void HttpExchange::control(const net::IoToken& io, const http1::Head& head, Bytes body) {
  if (!inflate(io, head, body)) return;
  Services& services = connection_->services();
  ControlRequest request{Protocol::http, std::string(head.method), std::string(head.path()), {}, std::move(body)};
  for (const http1::Field& field : head.fields) {
    std::string name(field.name);
    for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
    request.headers.emplace_back(std::move(name), std::string(field.value));
  }
  auto counted = std::make_shared<ControlCount>(services.running);
  const auto pending = std::make_shared<PendingControl>(
      connection_->connection().loop().mailbox(),
      [self = shared_from_this(), counted](const net::IoToken& token, ControlAnswer given) {
        if (!given.status.ok() && given.body.empty()) return self->answer(token, error_reply(given.status));
        HttpReply reply{given.http_status, {}, std::move(given.headers), {}};
        if (!given.body.empty()) reply.body.add(std::move(given.body));
        self->answer(token, std::move(reply));
      });
  services.control.handle(std::move(request), [pending](ControlAnswer given) { pending->send(std::move(given)); });
}

void HttpExchange::infer(const net::IoToken& io, const http1::Head& head, Bytes body, const kserve::InferCall& call) {
  Services& services = connection_->services();
  const bool plain_infer = call.verb == kserve::InferVerb::infer;
  verb_ = call.verb;
  if (plain_infer) {
    if (!inflate(io, head, body)) return;
  } else if (const auto* coding = head.find("content-encoding");
             coding != nullptr && !coding->empty() && *coding != "identity") {
    return answer(io, error_reply(400, "Unsupported content-encoding, only 'identity' is supported."));
  }
  const auto version = kserve::parse_version(call.version);
  if (!version.ok()) return answer(io, error_reply(version.status()));
  auto model = services.engine.find(call.model, *version);
  if (!model.ok()) return answer(io, error_reply(model.status()));
  model_ = std::move(*model);
  const model::ModelSpec& spec = engine::spec_of(model_);
  if (plain_infer && spec.decoupled) {
    return answer(io, error_reply(501, "HTTP end point doesn't support models with decoupled transaction policy"));
  }

  std::optional<std::string_view> header_length;
  if (const auto* given = head.find("inference-header-content-length")) header_length = *given;
  net::Connection& connection = connection_->connection();
  const TimePoint received = services.clock.now();
  auto decoded = plain_infer ? kserve::decode_http_infer(body, header_length, call.model, json_limits(services),
                                                         connection.pool(), services.regions)
                             : kserve::decode_generate(body, spec, json_limits(services), connection.pool());
  if (!decoded.ok()) return answer(io, error_reply(decoded.status()));
  infer::RequestPtr request = std::move(decoded->request);
  plan_ = std::move(decoded->plan);
  id_ = request->id;
  if (plain_infer) {
    if (const auto* accepted = head.find("accept-encoding")) coding_ = kserve::choose_coding(*accepted);
    if (!services.http_headers.empty()) {
      for (const http1::Field& field : head.fields) {
        const Status forwarded = services.http_headers.forward(field.name, field.value, *request);
        if (!forwarded.ok()) return answer(io, error_reply(forwarded));
      }
    }
  }
  request->trace_id = trace_id_of(head);
  request->timings.received = received;
  // Part of this exchange, and keeps it alive.
  request->cancellation = std::shared_ptr<infer::Cancellation>(shared_from_this(), &cancellation_);
  submit(services, connection.loop().mailbox(), model_, std::move(request), shared_from_this(),
         std::move(decoded->regions));
}

void HttpExchange::on_response(const net::IoToken& io, infer::Response response, bool last) {
  if (connection_ == nullptr) return;
  if (verb_ == kserve::InferVerb::generate_stream) {
    const bool behind = !waiting_.empty() || connection_->behind(*this);
    if (behind) return waiting_.emplace_back(std::move(response), last), void();
    return answer_stream(io, std::move(response), last);
  }
  // A decoupled model's last word may be empty.
  const bool counts = !response.status.ok() || !response.outputs.empty() || !engine::spec_of(model_).decoupled;
  if (counts && ++responses_ == 1) first_ = std::move(response);
  if (!last) return;
  if (verb_ == kserve::InferVerb::generate) return answer_generate(io, first_);
  if (responses_ != 1) {
    return answer(io, error_reply(500, "expected a single response, got " + std::to_string(responses_)));
  }
  answer_infer(io, first_);
}

void HttpExchange::answer_infer(const net::IoToken& io, const infer::Response& response) {
  if (!response.status.ok()) return answer(io, error_reply(response.status));
  BytesPool& pool = connection_->connection().pool();
  auto encoded = kserve::encode_http_infer(response, plan_, engine::spec_of(model_), id_, pool);
  if (!encoded.ok()) return answer(io, error_reply(encoded.status()));
  HttpReply reply{200, encoded->content_type, {}, std::move(encoded->body)};
  if (encoded->header_length) {
    reply.fields.emplace_back("Inference-Header-Content-Length", std::to_string(*encoded->header_length));
  }
  if (coding_ != kserve::Coding::identity) {
    auto smaller = kserve::deflate_body(reply.body, coding_, pool);
    if (smaller.ok()) {  // else it goes as it is
      reply.body = std::move(*smaller);
      reply.fields.emplace_back("Content-Encoding", std::string(kserve::to_string(coding_)));
    }
  }
  answer(io, std::move(reply));
}

void HttpExchange::answer_generate(const net::IoToken& io, const infer::Response& response) {
  HttpReply reply = error_reply(kserve::http_status(response.status.code()), response.status.message());
  if (responses_ != 1) {
    reply = error_reply(200, kserve::kNotOneResponse);
  } else if (response.status.ok()) {
    auto json = kserve::encode_generate(response, engine::spec_of(model_), id_, connection_->connection().pool());
    reply = json.ok() ? HttpReply{200, kJson, {}, std::move(*json)} : error_reply(json.status());
  }
  answer(io, std::move(reply));
}

void HttpExchange::resume_stream(const net::IoToken& io) {
  while (connection_ != nullptr && !waiting_.empty() && !connection_->behind(*this)) {
    auto [response, last] = std::move(waiting_.front());
    waiting_.pop_front();
    answer_stream(io, std::move(response), last);
  }
}

void HttpExchange::answer_stream(const net::IoToken& io, infer::Response response, bool last) {
  constexpr std::string_view kEvents = "text/event-stream; charset=utf-8";
  const bool shows = !response.status.ok() || !response.outputs.empty();
  // A refusal is answered like any other; what ran and failed is an event.
  if (!streaming_ && last && never_ran(response.status)) return answer(io, error_reply(response.status));
  if (shows) {
    kserve::Gather json = gather(Bytes::take(kserve::encode_error(response.status.message())));
    if (response.status.ok()) {
      auto encoded = kserve::encode_generate(response, engine::spec_of(model_), id_, connection_->connection().pool());
      json = encoded.ok() ? std::move(*encoded) : gather(Bytes::take(kserve::encode_error(encoded.status().message())));
    }
    // The first response fixes the status; later failures are events.
    const int status = response.status.ok() ? 200 : kserve::http_status(response.status.code());
    if (!streaming_) connection_->stream_head(io, *this, {status, kEvents, {}, {}});
    if (connection_ != nullptr) connection_->stream_piece(io, *this, kserve::as_event(std::move(json)));
  }
  if (!last || connection_ == nullptr) return;
  if (!streaming_) connection_->stream_head(io, *this, {200, kEvents, {}, {}});
  if (connection_ != nullptr) connection_->stream_end(io, *this);
}

}  // namespace argosy::serve
