#pragma once

// A front with a real engine, the identity backend and one that the test holds back, on
// free ports; a control handler that tells what it was asked, and a blocking client.

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <chrono>
#include <string>
#include <thread>

#include "backend/identity/identity.h"
#include "base/guarded.h"
#include "engine/engine_fixture.h"
#include "net/socket.h"
#include "serve/front.h"

namespace argosy::serve {

class HttpClient {
 public:
  explicit HttpClient(std::uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    const timeval patience{20, 0};  // a test that hangs fails instead
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(socket_.get(), reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
  }
  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t count = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (count <= 0) return;
      bytes.remove_prefix(static_cast<std::size_t>(count));
    }
  }
  void end() { ::shutdown(socket_.get(), SHUT_WR); }

  // One answer by its Content-Length: head and body. "" when the server closed.
  std::string answer() {
    for (;;) {
      const std::size_t head = held_.find("\r\n\r\n");
      if (head != std::string::npos) {
        const std::size_t at = held_.find("\r\nContent-Length: ");
        const std::size_t body = at < head ? std::stoul(held_.substr(at + 18, 20)) : 0;
        if (held_.size() >= head + 4 + body) {
          const std::string whole = held_.substr(0, head + 4 + body);
          held_.erase(0, whole.size());
          return whole;
        }
      }
      if (!more()) return "";
    }
  }
  std::string until_closed() {
    while (more()) {}
    return std::exchange(held_, {});
  }
  std::string ask(std::string_view request) {
    send(request);
    return answer();
  }

 private:
  bool more() {
    char buffer[65536];
    const ssize_t count = ::recv(socket_.get(), buffer, sizeof buffer, 0);
    if (count > 0) held_.append(buffer, static_cast<std::size_t>(count));
    return count > 0;
  }
  net::Descriptor socket_;
  std::string held_;
};

inline std::string body_of(const std::string& answer) {
  const std::size_t head = answer.find("\r\n\r\n");
  return head == std::string::npos ? "no answer" : answer.substr(head + 4);
}
inline int status_of(const std::string& answer) { return answer.size() < 12 ? 0 : std::stoi(answer.substr(9, 3)); }

inline std::string post(const std::string& path, const std::string& body, const std::string& fields = "") {
  return "POST " + path + " HTTP/1.1\r\n" + fields + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
         body;
}
inline std::string get(const std::string& path, const std::string& fields = "") {
  return "GET " + path + " HTTP/1.1\r\n" + fields + "\r\n";
}

class HttpEchoControl final : public ControlHandler {
 public:
  void handle(ControlRequest request, ControlReply reply) override {
    if (request.path == "/v2/logging") return;  // drops the reply
    reply({{}, 200, {{"content-type", "application/json"}}, Bytes::take(request.method + " " + request.path)});
  }
};

class HttpServer : public ::testing::Test {
 protected:
  HttpServer() {
    EXPECT_TRUE(backends_->add("identity", backend::make_identity_backend()).ok());
    EXPECT_TRUE(backends_->add("held", std::make_shared<engine::HeldBackend>(door_)).ok());
    engine_ = std::make_unique<engine::Engine>(engine::EngineOptions{}, backends_, metrics_, clock_);
    load("m", false, "0");
    load("slow", false, "300000");
    load("dec", true, "0");
    options_.grpc.enabled = false;
  }
  ~HttpServer() override {
    door_->open();
    if (front_) front_->stop();
    engine_->stop(clock_.now());
  }
  // The backend "held" answers when the door is open.
  void load(const std::string& name, bool decoupled, const std::string& delay_ms,
            const std::string& backend = "identity") {
    model::ModelSpec spec;
    spec.name = name;
    spec.backend = backend;
    spec.max_batch_rows = 8;
    spec.decoupled = decoupled;
    spec.inputs = {{.name = "IN", .dtype = tensor::DType::int32, .dims = {-1}}};
    spec.outputs = {{.name = "OUT", .dtype = tensor::DType::int32, .dims = {-1}}};
    spec.instances = {{}};
    if (delay_ms != "0") spec.parameters["execute_delay_ms"] = delay_ms;
    const Status loaded = engine_->load(name, {spec});
    EXPECT_TRUE(loaded.ok()) << loaded.message();
  }
  void start() {
    front_ = std::make_unique<Front>(options_, *engine_, control_, *metrics_, clock_);
    const Status started = front_->start();
    ASSERT_TRUE(started.ok()) << started.message();
    front_->set_state(true, true);
  }
  HttpClient connect() { return HttpClient(front_->http_port()); }

  SteadyClock clock_;
  std::shared_ptr<engine::HeldBackend::Door> door_ = std::make_shared<engine::HeldBackend::Door>();
  std::shared_ptr<backend::Registry> backends_ = std::make_shared<backend::Registry>();
  std::shared_ptr<metrics::Registry> metrics_ = std::make_shared<metrics::Registry>();
  std::unique_ptr<engine::Engine> engine_;
  HttpEchoControl control_;
  FrontOptions options_;
  std::unique_ptr<Front> front_;
};

}  // namespace argosy::serve
