#pragma once

// A gRPC listener on a loop of its own over a real engine, and a blocking client.

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend/identity/identity.h"
#include "base/bytes_pool.h"
#include "base/guarded.h"
#include "engine/engine.h"
#include "grpc/framing.h"
#include "http2/client.h"
#include "kserve/wire.h"
#include "net/listener.h"
#include "serve/grpc_connection.h"

namespace argosy::serve {

// Answers each request `responses` times, then an empty last one.
class RepeatBackend final : public backend::Backend {
 public:
  static constexpr int kResponses = 3;
  Result<std::unique_ptr<backend::LoadedModel>> load(const model::SpecPtr&, const backend::InstanceSlot&) override {
    return std::unique_ptr<backend::LoadedModel>(std::make_unique<Loaded>());
  }

 private:
  struct Repeat final : backend::Instance {
    backend::Intake intake() const override { return backend::Intake::pieces; }
    Status execute(backend::Batch& batch) override {
      for (infer::RequestPtr& slot : batch.requests) {
        const infer::RequestPtr request = std::move(slot);
        for (int i = 0; i < kResponses; ++i) {
          infer::Response response;
          response.outputs = request->inputs;
          response.outputs[0].name = "OUTPUT0";
          request->reply.stream(std::move(response));
        }
        std::move(request->reply).finish({});
      }
      batch.answers.resize(batch.requests.size());
      return {};
    }
  };
  struct Loaded final : backend::LoadedModel {
    Result<std::unique_ptr<backend::Instance>> make_instance(const backend::InstanceSlot&) override {
      return std::unique_ptr<backend::Instance>(std::make_unique<Repeat>());
    }
  };
};

struct EchoControl final : ControlHandler {
  void handle(ControlRequest request, ControlReply reply) override {
    if (request.body.view() == "drop") return;
    if (request.body.view() == "fail") return reply({.status = unsupported("not 100% served\n")});
    std::string seen = request.path + "|" + std::string(request.body.view());
    for (const auto& [name, value] : request.headers) seen += "|" + name + "=" + value;
    reply({.body = Bytes::take(std::move(seen))});
  }
};

class GrpcServer {
 public:
  explicit GrpcServer(FrontOptions o = {}) : options(std::move(o)) {
    EXPECT_TRUE(backends->add("identity", backend::make_identity_backend()).ok());
    EXPECT_TRUE(backends->add("repeat", std::make_shared<RepeatBackend>()).ok());
    engine = std::make_unique<engine::Engine>(engine::EngineOptions{}, backends, metrics, clock);
    auto pattern = HeaderPattern::parse(options.grpc_header_forward_pattern);
    EXPECT_TRUE(pattern.ok());
    headers = std::move(*pattern);
    services = std::unique_ptr<Services>(
        new Services{options, no_headers, headers, *engine, control, *metrics, clock, state, running});
    loop = std::move(*net::EventLoop::create(clock));
    EXPECT_TRUE(loop->start("grpc").ok());
    auto listening = std::move(*net::listen_on({}));
    port = listening.port;
    loop->run_there([&](const net::IoToken& io) {
      listener =
          std::make_unique<net::Listener>(*loop, std::move(listening.socket), net::ListenerOptions{}, nullptr,
                                          default_pool(), [this](const net::IoToken&, net::Connection& connection) {
                                            return make_grpc_connection(connection, *services);
                                          });
      EXPECT_TRUE(listener->start(io).ok());
    });
  }
  ~GrpcServer() {
    loop->run_there([&](const net::IoToken& io) {
      listener->close_all(io);
      listener.reset();
    });
    loop->stop();
    engine.reset();
  }
  void drain() {
    loop->run_there([&](const net::IoToken& io) { listener->drain(io); });
  }
  std::size_t connections() const { return listener->open_connections(); }

  void load(const std::string& name, const std::string& backend, std::map<std::string, std::string> parameters = {}) {
    model::ModelSpec spec;
    spec.name = name;
    spec.backend = backend;
    spec.decoupled = backend == "repeat";
    spec.max_batch_rows = 0;
    spec.inputs = {{"INPUT0", tensor::DType::uint8, {-1}}};
    spec.outputs = {{"OUTPUT0", tensor::DType::uint8, {-1}}};
    spec.instances = {{name + "_0", model::InstanceKind::cpu, 1, {}}};
    spec.parameters = std::move(parameters);
    const Status loaded = engine->load(name, {spec});
    ASSERT_TRUE(loaded.ok()) << loaded.message();
  }

  FrontOptions options;
  SteadyClock clock;
  HeaderPattern headers, no_headers;
  EchoControl control;
  ServerState state;
  std::shared_ptr<std::atomic<std::size_t>> running = std::make_shared<std::atomic<std::size_t>>(0);
  std::shared_ptr<backend::Registry> backends = std::make_shared<backend::Registry>();
  std::shared_ptr<metrics::Registry> metrics = std::make_shared<metrics::Registry>();
  std::unique_ptr<engine::Engine> engine;
  std::unique_ptr<Services> services;
  std::unique_ptr<net::EventLoop> loop;
  std::unique_ptr<net::Listener> listener;
  std::uint16_t port = 0;
};

class GrpcClient {
 public:
  explicit GrpcClient(const GrpcServer& server, std::vector<nghttp2_settings_entry> settings = {}, bool reads = true)
      : h2(std::move(settings), reads) {
    fd_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(server.port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof(to)), 0);
  }
  ~GrpcClient() { hang_up(); }
  GrpcClient(const GrpcClient&) = delete;
  void hang_up() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

  std::int32_t start(const std::string& method, const test::HeaderList& more = {}) {
    test::HeaderList headers{{":method", "POST"},    {":scheme", "http"}, {":path", method},
                             {":authority", "test"}, {"te", "trailers"},  {"content-type", "application/grpc"}};
    headers.insert(headers.end(), more.begin(), more.end());
    return h2.open(headers);
  }
  void message(std::int32_t id, const std::string& text, bool end = false) {
    const auto prefix = grpc::message_prefix(text.size(), false);
    h2.send(id, std::string(reinterpret_cast<const char*>(prefix.data()), prefix.size()) + text, end);
  }
  // Writes what is due and reads until `enough`, or the server hangs up. Ten seconds at most.
  bool until(const std::function<bool()>& enough) {
    while (!enough()) {
      flush();
      pollfd ready{fd_, POLLIN, 0};
      if (::poll(&ready, 1, 10'000) != 1) return false;
      char bytes[65536];
      const ssize_t count = ::recv(fd_, bytes, sizeof(bytes), 0);
      if (count <= 0) return enough();
      if (!h2.give({bytes, static_cast<std::size_t>(count)})) return false;
    }
    flush();
    return true;
  }
  void flush() {
    const std::string out = h2.take();
    for (std::size_t at = 0; at < out.size();) {
      const ssize_t wrote = ::send(fd_, out.data() + at, out.size() - at, MSG_NOSIGNAL);
      if (wrote <= 0) return;
      at += static_cast<std::size_t>(wrote);
    }
  }
  bool closed(std::int32_t id) {
    return until([&] { return h2.heard(id).closed; });
  }
  const test::Heard& call(const std::string& method, const std::string& request, const test::HeaderList& more = {}) {
    const auto id = start(method, more);
    message(id, request, true);
    EXPECT_TRUE(closed(id));
    return h2.heard(id);
  }

  test::Http2Client h2;

 private:
  int fd_ = -1;
};

// The status a call ended with, from trailers or a trailers-only head.
inline std::string status_of(const test::Heard& heard) {
  for (const auto* list : {&heard.trailers, &heard.head}) {
    if (const auto at = list->find("grpc-status"); at != list->end()) return at->second;
  }
  return "none";
}
inline std::string message_of(const test::Heard& heard) {
  for (const auto* list : {&heard.trailers, &heard.head}) {
    if (const auto at = list->find("grpc-message"); at != list->end()) return at->second;
  }
  return "";
}

// The messages of a body; only whole ones.
inline std::vector<std::string> messages_of(const test::Heard& heard) {
  std::vector<std::string> all;
  grpc::MessageReader reader(grpc::kMaxMessageBytes);
  Bytes data = Bytes::copy_of(heard.body);
  while (!data.empty()) {
    auto next = reader.next(data, default_pool());
    if (!next.ok() || !*next) break;
    all.emplace_back((*next)->bytes.view());
  }
  return all;
}

constexpr const char* kModelInfer = "/inference.GRPCInferenceService/ModelInfer";
constexpr const char* kStreamInfer = "/inference.GRPCInferenceService/ModelStreamInfer";

// A ModelInferRequest for one UINT8 input.
inline std::string infer_request(const std::string& model, const std::string& data, const std::string& id = "",
                                 bool empty_final = false) {
  std::string input;
  kserve::WireWriter in(input);
  in.bytes(1, "INPUT0");
  in.bytes(2, "UINT8");
  std::string dims;
  kserve::WireWriter(dims).raw_varint(data.size());
  in.bytes(3, dims);
  std::string out;
  kserve::WireWriter writer(out);
  writer.bytes(1, model);
  if (!id.empty()) writer.bytes(3, id);
  if (empty_final) {
    std::string value, entry;
    kserve::WireWriter(value).varint(1, 1);
    kserve::WireWriter pair(entry);
    pair.bytes(1, "triton_enable_empty_final_response");
    pair.bytes(2, value);
    writer.bytes(4, entry);
  }
  writer.bytes(5, input);
  writer.bytes(7, data);
  return out;
}

// The bytes of one field of a message, the last time it occurs.
inline std::string field_of(std::string_view message, std::uint32_t field) {
  kserve::WireReader reader(message);
  std::string found;
  while (reader.next()) {
    std::string_view value;
    if (reader.is(field, kserve::WireType::bytes)) {
      reader.bytes(value);
      found = value;
    } else {
      reader.skip();
    }
  }
  return found;
}

}  // namespace argosy::serve
