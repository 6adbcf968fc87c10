#pragma once

// Exchange: one request as bytes, prepared once and sent many times, and the reading
// of the answers: the first output tensor of a response in each of the three formats.
//
// Thread: values; any.

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "load/samples.h"

namespace argosy::load {

enum class Format { http_json, http_binary, grpc };
std::string_view to_string(Format format);  // "json", "binary", "grpc"

struct Exchange {
  std::string head;  // HTTP: the request head with its empty line. gRPC: the method's path
  std::string body;  // gRPC: the length-prefixed message
};

struct Target {
  std::string authority;  // host:port, for the Host header
  std::string model;
  std::string version;  // empty: the server's choice
};

// Where the tensors of one request lie in memory that the server knows as `region`.
struct SharedPlace {
  std::string tensor;
  std::size_t offset = 0;
  std::size_t bytes = 0;
};
struct SharedRequest {
  std::string region;
  std::vector<SharedPlace> inputs, outputs;
};

// `shared`: the request names places instead of carrying bytes; null: it carries them.
Exchange infer_exchange(Format format, const Target& target, const Sample& sample,
                        const SharedRequest* shared = nullptr);

Exchange http_get(const Target& target, std::string_view path);
Exchange http_post(const Target& target, std::string_view path, std::string body);  // JSON
Exchange grpc_call(std::string_view method, std::string_view message);              // method of GRPCInferenceService
std::string model_path(const Target& target);                                       // /v2/models/<m>[/versions/<v>]
std::string model_request_message(const Target& target);                            // name = 1, version = 2

constexpr std::size_t kNoHeaderLength = static_cast<std::size_t>(-1);

// Whether an answer lists an output, wherever its bytes are.
Status lists_output(Format format, std::string_view body);

// The first output's bytes. `header_length` is Inference-Header-Content-Length, or
// kNoHeaderLength; `body` is a gRPC answer without its 5-byte prefix.
Result<std::string> first_output(Format format, std::string_view body, std::size_t header_length);

}  // namespace argosy::load
