#pragma once

// ControlHandler: answers everything that is not an inference (metadata, index,
// statistics, settings). The native side knows no more of it than this interface; a
// request crosses as plain data and its answer likewise, for HTTP and for unary gRPC
// calls alike.
//
// Thread: handle() is called on an I/O thread and must not block; the answer may come
// from any thread, once. An answer dropped unsent is a 500 / INTERNAL.

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"

namespace argosy::serve {

enum class Protocol : std::uint8_t { http, grpc };

using Headers = std::vector<std::pair<std::string, std::string>>;  // names in lower case

struct ControlRequest {
  Protocol protocol = Protocol::http;
  std::string method;  // HTTP method; "POST" for gRPC
  std::string path;    // raw path without query, or "/inference.GRPCInferenceService/ModelMetadata"
  Headers headers;     // or gRPC metadata
  Bytes body;          // decompressed; for gRPC the message bytes
};

struct ControlAnswer {
  Status status;          // gRPC: not ok becomes the call's status
  int http_status = 200;  // HTTP only
  Headers headers;
  Bytes body;  // or message bytes
};

// Called exactly once, from any thread.
using ControlReply = std::function<void(ControlAnswer)>;

class ControlHandler {
 public:
  virtual ~ControlHandler() = default;
  virtual void handle(ControlRequest request, ControlReply reply) = 0;
};

}  // namespace argosy::serve
