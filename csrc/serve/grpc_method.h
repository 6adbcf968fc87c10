#pragma once

// GrpcMethod: what a connection knows about a :path: who serves it, and which metadata
// it demands. A connection works that out once for each method its client uses; after
// that a path costs one comparison.
//
// Thread: its connection's loop.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "serve/front_options.h"

namespace argosy::serve {

enum class GrpcService : std::uint8_t {
  model_infer,
  model_stream_infer,
  server_live,
  server_ready,
  model_ready,
  health_check,
  reflection,
  control,
  refused,
};

struct GrpcMethod {
  std::string path;
  GrpcService service = GrpcService::refused;
  Status refusal;          // for GrpcService::refused
  std::string guard_name;  // metadata that must be there; empty: none
  std::string guard_value;
  std::string guard_text;  // the refusal if it is not

  bool streams() const { return service == GrpcService::model_stream_infer || service == GrpcService::reflection; }
  bool infers() const { return service == GrpcService::model_infer || service == GrpcService::model_stream_infer; }
};

GrpcMethod classify_method(std::string_view path, const FrontOptions& options);

class GrpcMethods {
 public:
  explicit GrpcMethods(const FrontOptions& options) : options_(options) {}

  // Valid until the next call only if the path is refused; else as long as this object.
  const GrpcMethod& find(std::string_view path);

 private:
  const FrontOptions& options_;
  std::vector<std::unique_ptr<const GrpcMethod>> known_;  // the last one used first
  GrpcMethod refused_;
};

}  // namespace argosy::serve
