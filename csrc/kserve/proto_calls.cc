#include "kserve/proto_calls.h"

#include "kserve/wire.h"

namespace argosy::kserve {
namespace {

// The common front of every reflection answer: valid_host = 1, original_request = 2.
std::string reflection_front(const ReflectionRequest& request) {
  std::string out;
  WireWriter writer(out);
  if (!request.host.empty()) writer.bytes(1, request.host);
  writer.bytes(2, request.original);
  return out;
}

}  // namespace

std::string encode_ready(bool yes) {
  std::string out;
  if (yes) WireWriter(out).varint(1, 1);
  return out;
}

std::string encode_health(bool serving) {
  std::string out;
  WireWriter(out).varint(1, serving ? 1 : 2);
  return out;
}

Result<ModelName> decode_model_ready(std::string_view message) {
  ModelName out;
  WireReader reader(message);
  while (reader.next()) {
    std::string_view text;
    if (reader.is(1, WireType::bytes)) {
      if (reader.bytes(text)) out.name = text;
    } else if (reader.is(2, WireType::bytes)) {
      if (reader.bytes(text)) out.version = text;
    } else {
      reader.skip();
    }
  }
  if (!reader.ok()) return invalid_argument("the message is not a valid protobuf ModelReadyRequest");
  return out;
}

Result<ReflectionRequest> decode_reflection(std::string_view message) {
  ReflectionRequest out{.original = std::string(message)};
  WireReader reader(message);
  while (reader.next()) {
    std::string_view text;
    if (reader.type() != WireType::bytes) {
      reader.skip();
      continue;
    }
    if (!reader.bytes(text)) break;
    switch (reader.field()) {
      case 1: out.host = text; break;
      case 3:
        out.question = ReflectionQuestion::file_by_filename;
        out.text = text;
        break;
      case 4:
        out.question = ReflectionQuestion::file_containing_symbol;
        out.text = text;
        break;
      case 5:
      case 6:
        out.question = ReflectionQuestion::other;
        out.text = text;
        break;
      case 7:
        out.question = ReflectionQuestion::list_services;
        out.text = text;
        break;
      default: break;
    }
  }
  if (!reader.ok()) return invalid_argument("the message is not a valid protobuf ServerReflectionRequest");
  return out;
}

std::string encode_reflection_files(const ReflectionRequest& request, const std::vector<std::string>& descriptors) {
  std::string out = reflection_front(request);
  std::string files;
  for (const std::string& descriptor : descriptors) WireWriter(files).bytes(1, descriptor);
  WireWriter(out).bytes(4, files);
  return out;
}

std::string encode_reflection_services(const ReflectionRequest& request, const std::vector<std::string>& names) {
  std::string out = reflection_front(request);
  std::string services;
  for (const std::string& name : names) {
    std::string service;
    WireWriter(service).bytes(1, name);
    WireWriter(services).bytes(1, service);
  }
  WireWriter(out).bytes(6, services);
  return out;
}

std::string encode_reflection_error(const ReflectionRequest& request, int grpc_code, std::string_view message) {
  std::string out = reflection_front(request);
  std::string error;
  WireWriter writer(error);
  writer.varint(1, static_cast<std::uint64_t>(grpc_code));
  writer.bytes(2, message);
  WireWriter(out).bytes(7, error);
  return out;
}

}  // namespace argosy::kserve
