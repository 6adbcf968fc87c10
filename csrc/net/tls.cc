#include "net/tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <optional>

#include "base/guarded.h"

namespace argosy::net {
namespace {

using ContextPtr = std::shared_ptr<SSL_CTX>;

// The socket as a BIO of our own: the library's writes without MSG_NOSIGNAL, and a
// peer that left would raise SIGPIPE in whatever program embeds us.
int socket_write(BIO* bio, const char* data, int size) {
  const int fd = static_cast<int>(reinterpret_cast<std::intptr_t>(BIO_get_data(bio)));
  BIO_clear_retry_flags(bio);
  const ssize_t count = ::send(fd, data, static_cast<std::size_t>(size), MSG_NOSIGNAL);
  if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) BIO_set_retry_write(bio);
  return static_cast<int>(count);
}

int socket_read(BIO* bio, char* data, int size) {
  const int fd = static_cast<int>(reinterpret_cast<std::intptr_t>(BIO_get_data(bio)));
  BIO_clear_retry_flags(bio);
  const ssize_t count = ::recv(fd, data, static_cast<std::size_t>(size), 0);
  if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) BIO_set_retry_read(bio);
  return static_cast<int>(count);
}

long socket_control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

BIO_METHOD* socket_method() {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "argosy socket");
    BIO_meth_set_write(made, socket_write);
    BIO_meth_set_read(made, socket_read);
    BIO_meth_set_ctrl(made, socket_control);
    return made;
  }();
  return method;
}

std::string library_error() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  if (code == 0) return "unknown error";
  std::array<char, 256> text{};
  ERR_error_string_n(code, text.data(), text.size());
  return text.data();
}

// Picks our most preferred protocol among those the client offers.
int choose_protocol(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* offered,
                    unsigned int size, void* argument) {
  const auto& ours = *static_cast<const std::vector<std::string>*>(argument);
  for (const std::string& wanted : ours) {
    for (unsigned int at = 0; at < size && at + 1 + offered[at] <= size; at += 1 + offered[at]) {
      if (offered[at] == wanted.size() && std::memcmp(offered + at + 1, wanted.data(), wanted.size()) == 0) {
        *out = offered + at + 1;
        *out_size = offered[at];
        return SSL_TLSEXT_ERR_OK;
      }
    }
  }
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

struct Stamp {
  ino_t file = 0;
  off_t size = 0;
  std::int64_t changed_ns = 0;
  friend bool operator==(const Stamp&, const Stamp&) = default;
};
using Stamps = std::array<Stamp, 3>;

Stamp stamp_of(const std::string& path) {
  struct stat info {};
  if (path.empty() || ::stat(path.c_str(), &info) != 0) return {};
  return {info.st_ino, info.st_size, std::int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec};
}

Stamps stamps_of(const TlsOptions& options) {
  return {stamp_of(options.certificate_file), stamp_of(options.key_file), stamp_of(options.client_ca_file)};
}

Status unusable(const std::string& what, const std::string& path) {
  return invalid_argument("TLS: " + what + " '" + path + "' cannot be used: " + library_error());
}

// `options` outlives the context: the ALPN callback reads it.
Result<ContextPtr> read_files(const TlsOptions& options) {
  const ContextPtr context(SSL_CTX_new(TLS_server_method()), &SSL_CTX_free);
  if (!context) return internal_error("TLS: " + library_error());
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_mode(context.get(),
                   SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  if (SSL_CTX_use_certificate_chain_file(context.get(), options.certificate_file.c_str()) != 1) {
    return unusable("certificate", options.certificate_file);
  }
  if (SSL_CTX_use_PrivateKey_file(context.get(), options.key_file.c_str(), SSL_FILETYPE_PEM) != 1) {
    return unusable("key", options.key_file);
  }
  if (SSL_CTX_check_private_key(context.get()) != 1) {
    return invalid_argument("TLS: key '" + options.key_file + "' does not belong to certificate '" +
                            options.certificate_file + "'");
  }
  if (!options.client_ca_file.empty()) {
    if (SSL_CTX_load_verify_locations(context.get(), options.client_ca_file.c_str(), nullptr) != 1) {
      return unusable("client CA", options.client_ca_file);
    }
    SSL_CTX_set_client_CA_list(context.get(), SSL_load_client_CA_file(options.client_ca_file.c_str()));
  }
  if (options.require_client_certificate) {
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }
  static constexpr std::array<unsigned char, 6> kSessionContext{'a', 'r', 'g', 'o', 's', 'y'};
  SSL_CTX_set_session_id_context(context.get(), kSessionContext.data(), kSessionContext.size());
  if (!options.alpn.empty()) {
    SSL_CTX_set_alpn_select_cb(context.get(), choose_protocol, const_cast<std::vector<std::string>*>(&options.alpn));
  }
  return context;
}

}  // namespace

struct TlsSession::Parts {
  ~Parts() { SSL_free(ssl); }

  Moved after(int result) {
    if (result > 0) return {Progress::done, static_cast<std::size_t>(result)};
    switch (SSL_get_error(ssl, result)) {
      case SSL_ERROR_WANT_READ: return {Progress::wants_read, 0};
      case SSL_ERROR_WANT_WRITE: return {Progress::wants_write, 0};
      case SSL_ERROR_ZERO_RETURN: return {Progress::end, 0};
      case SSL_ERROR_SYSCALL: error = "the peer closed without a TLS end"; break;
      default: error = library_error();
    }
    ERR_clear_error();
    failed = true;
    return {Progress::failed, 0};
  }

  SSL* ssl = nullptr;
  ContextPtr context;
  std::string error;
  bool failed = false;
};

TlsSession::TlsSession(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
TlsSession::~TlsSession() = default;

Moved TlsSession::handshake() {
  ERR_clear_error();
  return parts_->after(SSL_do_handshake(parts_->ssl));
}

Moved TlsSession::read(std::span<std::byte> into) {
  ERR_clear_error();
  return parts_->after(
      SSL_read(parts_->ssl, into.data(), static_cast<int>(std::min<std::size_t>(into.size(), INT_MAX))));
}

Moved TlsSession::write(std::span<const std::byte> from) {
  ERR_clear_error();
  return parts_->after(
      SSL_write(parts_->ssl, from.data(), static_cast<int>(std::min<std::size_t>(from.size(), INT_MAX))));
}

void TlsSession::send_end() {
  if (parts_->failed) return;
  ERR_clear_error();
  SSL_shutdown(parts_->ssl);
  ERR_clear_error();
}

std::string TlsSession::error() const { return parts_->error; }

std::string_view TlsSession::alpn() const {
  const unsigned char* name = nullptr;
  unsigned int size = 0;
  SSL_get0_alpn_selected(parts_->ssl, &name, &size);
  return {reinterpret_cast<const char*>(name), size};
}

std::string TlsSession::peer_subject() const {
  const std::unique_ptr<X509, decltype(&X509_free)> shown(SSL_get_peer_certificate(parts_->ssl), &X509_free);
  if (!shown) return {};
  std::array<char, 512> text{};
  X509_NAME_oneline(X509_get_subject_name(shown.get()), text.data(), static_cast<int>(text.size()));
  return text.data();
}

struct TlsContext::Parts {
  struct Current {
    ContextPtr context;
    Stamps stamps;
    TimePoint looked_at;
    Status reload_error;
  };
  Parts(TlsOptions given, const Clock& c) : options(std::move(given)), clock(c) {}

  const TlsOptions options;
  const Clock& clock;
  Guarded<Current> current;
};

TlsContext::TlsContext(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
TlsContext::~TlsContext() = default;

Result<std::shared_ptr<TlsContext>> TlsContext::load(TlsOptions options, const Clock& clock) {
  if (options.require_client_certificate && options.client_ca_file.empty()) {
    return invalid_argument("TLS: client certificates are required, but no file with their CA is given");
  }
  auto parts = std::make_unique<Parts>(std::move(options), clock);
  const Stamps stamps = stamps_of(parts->options);
  auto context = read_files(parts->options);
  if (!context.ok()) return context.status();
  *parts->current.lock() = {std::move(*context), stamps, clock.now(), {}};
  return std::shared_ptr<TlsContext>(new TlsContext(std::move(parts)));
}

Result<std::unique_ptr<TlsSession>> TlsContext::open(int fd) {
  auto session = std::make_unique<TlsSession::Parts>();
  {
    auto current = parts_->current.lock();
    const TimePoint now = parts_->clock.now();
    // Three stats a second at most, beside handshakes that cost a thousand times more.
    if (now - current->looked_at >= std::chrono::seconds(1)) {
      current->looked_at = now;
      const Stamps stamps = stamps_of(parts_->options);
      if (stamps != current->stamps) {
        auto fresh = read_files(parts_->options);
        current->reload_error = fresh.status();
        if (fresh.ok()) {
          current->context = std::move(*fresh);
          current->stamps = stamps;
        }
      }
    }
    session->context = current->context;
  }
  session->ssl = SSL_new(session->context.get());
  BIO* const bio = session->ssl == nullptr ? nullptr : BIO_new(socket_method());
  if (bio == nullptr) return resource_exhausted("TLS: " + library_error());
  BIO_set_data(bio, reinterpret_cast<void*>(static_cast<std::intptr_t>(fd)));
  BIO_set_init(bio, 1);
  SSL_set_bio(session->ssl, bio, bio);
  SSL_set_accept_state(session->ssl);
  return std::make_unique<TlsSession>(std::move(session));
}

Status TlsContext::reload_error() const { return parts_->current.lock()->reload_error; }

}  // namespace argosy::net
