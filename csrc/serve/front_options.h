#pragma once

// FrontOptions: what the listeners and connections of a server are told at start.
//
// Thread: immutable once a Front has it.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/time.h"

namespace argosy::serve {

struct EndpointOptions {
  bool enabled = true;
  std::string address = "127.0.0.1";  // a host, "ipv6:[::1]", or "unix:/path"
  std::uint16_t port = 0;             // 0: any free one; Front tells which
  bool reuse_port = false;
};

struct TlsFiles {
  std::string certificate;  // empty: no TLS
  std::string key;
  std::string client_ca;
  bool mutual = false;  // clients must show a certificate of client_ca
};

// A category ("health", "model-repository", ...) that needs a header with this exact value.
struct RestrictedApi {
  std::string category;
  std::string key;  // HTTP: the header; gRPC: metadata "triton-grpc-protocol-<key>"
  std::string value;
};

struct Limits {
  std::size_t max_input_bytes = 64u << 20;  // JSON, decompressed or raw-binary bodies
  std::size_t max_body_bytes = (std::size_t{1} << 31) - 1;
  std::size_t max_header_bytes = 64u << 10;
  std::size_t max_headers = 256;
  std::size_t max_connections = 65536;  // of each protocol, on each loop
  std::size_t max_pipelined = 64;       // unanswered requests of one HTTP/1 connection
  Micros idle_timeout{300'000'000};     // between requests
  Micros header_timeout{30'000'000};    // from a request's first byte to its last header byte
  Micros body_timeout{60'000'000};      // without any progress of a body
  Micros write_timeout{60'000'000};     // without any progress of an answer
};

enum class CompressionLevel : std::uint8_t { none, low, medium, high };

// What server reflection tells of one .proto file.
struct ProtoFile {
  std::string name;                       // "grpc_service.proto"
  std::vector<std::string> dependencies;  // names of other files
  std::vector<std::string> symbols;       // fully qualified: services, methods, messages, enums
  std::vector<std::string> services;
  std::string descriptor;  // a serialised FileDescriptorProto
};

struct GrpcOptions {
  std::size_t max_message_bytes = (std::size_t{1} << 31) - 1;
  std::uint32_t max_streams = 1024;  // at a time, of one connection
  CompressionLevel response_compression = CompressionLevel::none;
  Micros keepalive_time{7200'000'000};  // ping a silent client after this; Triton's names and defaults
  Micros keepalive_timeout{20'000'000};
  bool keepalive_without_calls = false;
  std::uint32_t max_pings_without_data = 2;  // 0: any number
  Micros min_ping_interval{300'000'000};     // clients that ping more often without data are sent away
  std::uint32_t max_ping_strikes = 2;        // 0: any number
  Micros max_connection_age{0};              // 0: for ever
  Micros max_connection_age_grace{0};        // 0: for ever
  bool reflection = true;
  std::vector<ProtoFile> proto_files;  // what reflection shows
};

struct FrontOptions {
  EndpointOptions http, grpc, metrics;
  TlsFiles http_tls, grpc_tls;
  std::uint32_t io_threads = 1;
  Limits limits;
  GrpcOptions grpc_settings;
  std::string http_header_forward_pattern;  // a regular expression; empty: forward none
  std::string grpc_header_forward_pattern;
  std::vector<RestrictedApi> http_restricted;
  std::vector<RestrictedApi> grpc_restricted;
  bool access_log = false;
};

}  // namespace argosy::serve
