#pragma once

// proto_calls: the few small protobuf messages the native side answers itself: the
// health calls and server reflection.
//
// Thread: pure functions; any.

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace argosy::kserve {

// ServerLiveResponse, ServerReadyResponse and ModelReadyResponse look alike.
std::string encode_ready(bool yes);

struct ModelName {
  std::string name;
  std::string version;
};
Result<ModelName> decode_model_ready(std::string_view message);  // ModelReadyRequest and its likes

// grpc.health.v1.HealthCheckResponse: SERVING or NOT_SERVING.
std::string encode_health(bool serving);

// grpc.reflection.v1 and v1alpha, whose messages are equal on the wire.
enum class ReflectionQuestion : unsigned char { none, file_by_filename, file_containing_symbol, list_services, other };
struct ReflectionRequest {
  ReflectionQuestion question = ReflectionQuestion::none;
  std::string host;
  std::string text;      // file name or symbol
  std::string original;  // the message itself: answers repeat it
};
Result<ReflectionRequest> decode_reflection(std::string_view message);
std::string encode_reflection_files(const ReflectionRequest& request, const std::vector<std::string>& descriptors);
std::string encode_reflection_services(const ReflectionRequest& request, const std::vector<std::string>& names);
std::string encode_reflection_error(const ReflectionRequest& request, int grpc_code, std::string_view message);

}  // namespace argosy::kserve
