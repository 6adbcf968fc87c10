#pragma once

// TLS for accepted connections of both protocols. TlsContext holds certificates and
// follows their files: a connection opened after a change gets the new ones, open ones
// keep theirs. TlsSession is one connection's half of the talk.
//
// A changed file that cannot be used leaves the old certificates in place; reload_error()
// says why.
//
// Thread: TlsContext any; a TlsSession belongs to its connection.

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "base/time.h"

namespace argosy::net {

struct TlsOptions {
  std::string certificate_file;  // PEM, the chain
  std::string key_file;          // PEM
  std::string client_ca_file;    // PEM; needed when clients must show a certificate
  bool require_client_certificate = false;
  std::vector<std::string> alpn;  // in order of preference: "h2", "http/1.1"; empty: no ALPN
};

enum class Progress : std::uint8_t {
  done,        // `bytes` moved, at least one
  wants_read,  // nothing until the socket can be read
  wants_write,
  end,  // the peer ended its side in order
  failed,
};

struct Moved {
  Progress progress = Progress::failed;
  std::size_t bytes = 0;
};

class TlsSession {
 public:
  struct Parts;
  explicit TlsSession(std::unique_ptr<Parts> parts);
  ~TlsSession();

  Moved handshake();
  Moved read(std::span<std::byte> into);
  Moved write(std::span<const std::byte> from);
  void send_end();            // close_notify, as far as the socket takes it
  std::string error() const;  // of the last `failed`
  std::string_view alpn() const;
  std::string peer_subject() const;  // of the client's certificate; empty: none

 private:
  std::unique_ptr<Parts> parts_;
};

class TlsContext {
 public:
  static Result<std::shared_ptr<TlsContext>> load(TlsOptions options, const Clock& clock);
  ~TlsContext();

  // For an accepted socket, which stays the caller's.
  Result<std::unique_ptr<TlsSession>> open(int fd);

  Status reload_error() const;

 private:
  struct Parts;
  explicit TlsContext(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace argosy::net
