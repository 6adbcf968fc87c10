#include "load/registration.h"

#include <utility>

#include "load/elements.h"
#include "load/json.h"
#include "load/proto_wire.h"

namespace argosy::load {
namespace {

bool on_gpu(const SharedObject& object) { return object.key.empty(); }

std::string http_path(const SharedObject& object, std::string_view verb) {
  return std::string("/v2/") + (on_gpu(object) ? "cuda" : "system") + "sharedmemory/region/" + object.region + "/" +
         std::string(verb);
}

std::string grpc_method(const SharedObject& object, std::string_view verb) {
  return std::string(on_gpu(object) ? "Cuda" : "System") + "SharedMemory" + std::string(verb);
}

std::string register_message(const SharedObject& object) {
  std::string message;
  append_bytes_field(message, 1, object.region);
  append_bytes_field(message, 2, on_gpu(object) ? object.handle : object.key);
  if (on_gpu(object)) append_uint_field(message, 3, static_cast<std::uint64_t>(object.device));
  append_uint_field(message, 4, object.bytes);
  return message;
}

std::string register_json(const SharedObject& object) {
  const std::string bytes = R"("byte_size":)" + std::to_string(object.bytes) + "}";
  if (on_gpu(object)) {
    return R"({"raw_handle":{"b64":")" + bytes_as_base64(object.handle) + R"("},"device_id":)" +
           std::to_string(object.device) + "," + bytes;
  }
  std::string json = R"({"key":)";
  append_json_string(json, object.key);
  return json + R"(,"offset":0,)" + bytes;
}

}  // namespace

Exchange register_exchange(bool grpc, const Target& target, const SharedObject& object) {
  if (grpc) return grpc_call(grpc_method(object, "Register"), register_message(object));
  return http_post(target, http_path(object, "register"), register_json(object));
}

Exchange unregister_exchange(bool grpc, const Target& target, const SharedObject& object) {
  if (!grpc) return http_post(target, http_path(object, "unregister"), "");
  std::string message;
  append_bytes_field(message, 1, object.region);
  return grpc_call(grpc_method(object, "Unregister"), message);
}

Status Registration::begin() {
  begun_ = true;
  const auto told = control_.call(register_exchange(grpc_, target_, object_));
  return told.ok() ? Status() : Status(told.status().code(), "registering shared memory: " + told.status().message());
}

Status Registration::end() {
  if (!std::exchange(begun_, false)) return {};
  const auto told = control_.call(unregister_exchange(grpc_, target_, object_));
  return told.ok() ? Status() : Status(told.status().code(), "unregistering shared memory: " + told.status().message());
}

}  // namespace argosy::load
