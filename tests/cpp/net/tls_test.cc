#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "net/listener.h"

namespace argosy::net {
namespace {

namespace fs = std::filesystem;

// Answers what it reads, bytes for bytes.
class Echo final : public ConnectionHandler {
 public:
  explicit Echo(Connection& connection) : connection_(connection) {}
  std::span<std::byte> read_buffer(const IoToken&) override { return buffer_; }
  void on_read(const IoToken& io, std::size_t count) override {
    connection_.write_copy(io, {reinterpret_cast<const char*>(buffer_.data()), count});
  }
  void on_read_end(const IoToken& io) override { connection_.close_after_writing(io); }
  void on_drain(const IoToken& io) override { connection_.close_after_writing(io); }
  void on_closed(const IoToken&, const Status&) override {}

 private:
  Connection& connection_;
  std::array<std::byte, 4096> buffer_;
};

class HandClock final : public Clock {
 public:
  TimePoint now() const override { return SteadyClock().now() + ahead; }
  Nanos ahead{0};
};

class Tls : public ::testing::Test {
 protected:
  Tls() {
    std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes to a peer that may have hung up
    folder_ = fs::temp_directory_path() / ("argosy_tls_" + std::to_string(::getpid()));
    fs::create_directories(folder_);
    issue("one");
  }
  ~Tls() override {
    if (loop_) {
      loop_->run_there([&](const IoToken& io) { listener_->close_all(io); });
      loop_->stop();
      listener_.reset();
    }
    fs::remove_all(folder_);
  }
  std::string file(const std::string& name) const { return (folder_ / name).string(); }

  // A self-signed certificate named `name`, written to cert.pem and key.pem.
  void issue(const std::string& name, const std::string& to = "") {
    const std::string command =
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=" + name +
        " -keyout " + file(to + "key.pem") + " -out " + file(to + "cert.pem") + " 2>/dev/null";
    ASSERT_EQ(std::system(command.c_str()), 0);
    for (const char* part : {"key.pem", "cert.pem"}) is_newer(file(to + part));
  }
  // Files that follow each other within a tick of the file system's clock have one time.
  void is_newer(const std::string& path) {
    fs::last_write_time(path, fs::last_write_time(path) + std::chrono::seconds(++written_));
  }

  void serve(TlsOptions options) {
    auto context = TlsContext::load(std::move(options), clock_);
    ASSERT_TRUE(context.ok()) << context.status().message();
    context_ = *context;
    auto listening = listen_on({});
    ASSERT_TRUE(listening.ok());
    port_ = listening->port;
    loop_ = std::move(*EventLoop::create(clock_));
    listener_ = std::make_unique<Listener>(
        *loop_, std::move(listening->socket), ListenerOptions{}, context_, default_pool(),
        [](const IoToken&, Connection& connection) { return std::make_unique<Echo>(connection); });
    ASSERT_TRUE(loop_->start("test").ok());
    loop_->run_there([&](const IoToken& io) { ASSERT_TRUE(listener_->start(io).ok()); });
  }

  struct Told {
    bool ok = false;
    std::string name, alpn, echoed;
  };
  // Connects, sends `text`, reads as much back.
  Told ask(const std::string& text, const std::string& client_files = "") {
    Told told;
    const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_client_method()), &SSL_CTX_free);
    if (!client_files.empty()) {
      SSL_CTX_use_certificate_chain_file(context.get(), file(client_files + "cert.pem").c_str());
      SSL_CTX_use_PrivateKey_file(context.get(), file(client_files + "key.pem").c_str(), SSL_FILETYPE_PEM);
    }
    constexpr std::array<unsigned char, 12> kOffer{2, 'h', '2', 8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
    SSL_CTX_set_alpn_protos(context.get(), kOffer.data(), kOffer.size());
    const Descriptor socket(::socket(AF_INET, SOCK_STREAM, 0));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port_);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(socket.get(), reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
    const std::unique_ptr<SSL, decltype(&SSL_free)> ssl(SSL_new(context.get()), &SSL_free);
    SSL_set_fd(ssl.get(), socket.get());
    if (SSL_connect(ssl.get()) != 1) return told;
    std::size_t sent = 0;
    while (sent < text.size() || told.echoed.size() < text.size()) {
      if (sent < text.size()) {
        const int wrote = SSL_write(ssl.get(), text.data() + sent,
                                    static_cast<int>(std::min<std::size_t>(16000, text.size() - sent)));
        if (wrote <= 0) return told;
        sent += static_cast<std::size_t>(wrote);
      }
      std::array<char, 16384> buffer;
      const int got = SSL_read(ssl.get(), buffer.data(), buffer.size());
      if (got <= 0) return told;
      told.echoed.append(buffer.data(), static_cast<std::size_t>(got));
    }
    const std::unique_ptr<X509, decltype(&X509_free)> shown(SSL_get_peer_certificate(ssl.get()), &X509_free);
    std::array<char, 256> name{};
    X509_NAME_oneline(X509_get_subject_name(shown.get()), name.data(), name.size());
    const unsigned char* chosen = nullptr;
    unsigned int size = 0;
    SSL_get0_alpn_selected(ssl.get(), &chosen, &size);
    SSL_shutdown(ssl.get());
    told.ok = true;
    told.name = name.data();
    told.alpn.assign(reinterpret_cast<const char*>(chosen), size);
    return told;
  }

  fs::path folder_;
  HandClock clock_;
  std::shared_ptr<TlsContext> context_;
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<Listener> listener_;
  std::uint16_t port_ = 0;
  int written_ = 0;
};

TEST_F(Tls, BytesGoBothWaysAndTheProtocolIsAgreed) {
  serve({.certificate_file = file("cert.pem"), .key_file = file("key.pem"), .alpn = {"http/1.1"}});
  const std::string text(3'000'000, 'x');
  const Told told = ask(text);
  EXPECT_TRUE(told.ok);
  EXPECT_EQ(told.echoed, text);
  EXPECT_EQ(told.alpn, "http/1.1");
  EXPECT_EQ(told.name, "/CN=one");
}

TEST_F(Tls, AClientWithoutACertificateIsTurnedAwayWhereOneIsRequired) {
  issue("client", "client_");
  issue("stranger", "stranger_");
  serve({.certificate_file = file("cert.pem"),
         .key_file = file("key.pem"),
         .client_ca_file = file("client_cert.pem"),
         .require_client_certificate = true});
  EXPECT_FALSE(ask("hello").ok);
  EXPECT_FALSE(ask("hello", "stranger_").ok);
  EXPECT_TRUE(ask("hello", "client_").ok);
}

TEST_F(Tls, NewConnectionsGetTheNewCertificateAndABrokenOneIsNotTaken) {
  serve({.certificate_file = file("cert.pem"), .key_file = file("key.pem")});
  EXPECT_EQ(ask("a").name, "/CN=one");
  issue("two");
  loop_->run_there([&](const IoToken&) { clock_.ahead += std::chrono::seconds(2); });
  EXPECT_EQ(ask("a").name, "/CN=two");
  std::ofstream(file("cert.pem")) << "nonsense";
  is_newer(file("cert.pem"));
  loop_->run_there([&](const IoToken&) { clock_.ahead += std::chrono::seconds(2); });
  EXPECT_EQ(ask("a").name, "/CN=two");
  EXPECT_NE(context_->reload_error().message().find(file("cert.pem")), std::string::npos);
}

TEST_F(Tls, AClientThatSpeaksNoTlsIsClosed) {
  serve({.certificate_file = file("cert.pem"), .key_file = file("key.pem")});
  const Descriptor socket(::socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port_);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::connect(socket.get(), reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
  ASSERT_GT(::send(socket.get(), "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL), 0);
  std::array<char, 100> buffer;
  while (::recv(socket.get(), buffer.data(), buffer.size(), 0) > 0) {}
  EXPECT_TRUE(ask("hello").ok);
}

TEST(TlsContext, AKeyOfAnotherCertificateIsRefusedByName) {
  SteadyClock clock;
  const auto missing = TlsContext::load({.certificate_file = "/nowhere/c.pem", .key_file = "/nowhere/k.pem"}, clock);
  ASSERT_FALSE(missing.ok());
  EXPECT_NE(missing.status().message().find("'/nowhere/c.pem'"), std::string::npos);
}

}  // namespace
}  // namespace argosy::net
