#include "load/exchange.h"

#include "load/elements.h"
#include "load/json.h"
#include "load/proto_wire.h"

namespace argosy::load {
namespace {

void append_json_place(std::string& json, const std::string& region, const SharedPlace& place) {
  json += R"(,"parameters":{"shared_memory_region":)";
  append_json_string(json, region);
  json += R"(,"shared_memory_offset":)" + std::to_string(place.offset) + R"(,"shared_memory_byte_size":)" +
          std::to_string(place.bytes) + "}}";
}

std::string json_request(const Sample& sample, bool binary, const SharedRequest* shared) {
  std::string json = R"({"inputs":[)";
  for (std::size_t i = 0; i < sample.inputs.size(); ++i) {
    const Tensor& tensor = sample.inputs[i];
    if (json.back() == '}') json += ',';
    json += R"({"name":)";
    append_json_string(json, tensor.name);
    json += R"(,"shape":[)";
    for (const auto dim : tensor.shape) json += (json.back() == '[' ? "" : ",") + std::to_string(dim);
    json += R"(],"datatype":")" + tensor.datatype + '"';
    if (shared != nullptr) {
      append_json_place(json, shared->region, shared->inputs[i]);
    } else if (binary) {
      json += R"(,"parameters":{"binary_data_size":)" + std::to_string(tensor.bytes.size()) + "}}";
    } else {
      json += R"(,"data":[)";
      append_elements_as_json(json, tensor.datatype, tensor.bytes);
      json += "]}";
    }
  }
  json += ']';
  if (shared != nullptr) {
    json += R"(,"outputs":[)";
    for (const SharedPlace& place : shared->outputs) {
      if (json.back() == '}') json += ',';
      json += R"({"name":)";
      append_json_string(json, place.tensor);
      append_json_place(json, shared->region, place);
    }
    json += ']';
  }
  if (binary && shared == nullptr) json += R"(,"parameters":{"binary_data_output":true})";
  return json + '}';
}

void append_proto_parameter(std::string& to, std::uint32_t field, std::string_view key, const std::string& value) {
  std::string entry;
  append_bytes_field(entry, 1, key);
  append_bytes_field(entry, 2, value);
  append_bytes_field(to, field, entry);
}

void append_proto_place(std::string& to, std::uint32_t field, const std::string& region, const SharedPlace& place) {
  std::string name, offset, bytes;
  append_bytes_field(name, 3, region);
  append_uint_field(offset, 2, place.offset);
  append_uint_field(bytes, 2, place.bytes);
  append_proto_parameter(to, field, "shared_memory_region", name);
  append_proto_parameter(to, field, "shared_memory_offset", offset);
  append_proto_parameter(to, field, "shared_memory_byte_size", bytes);
}

std::string proto_request(const Target& target, const Sample& sample, const SharedRequest* shared) {
  std::string message = model_request_message(target);
  for (std::size_t i = 0; i < sample.inputs.size(); ++i) {
    const Tensor& tensor = sample.inputs[i];
    std::string dims;
    for (const auto dim : tensor.shape) append_varint(dims, static_cast<std::uint64_t>(dim));
    std::string input;
    append_bytes_field(input, 1, tensor.name);
    append_bytes_field(input, 2, tensor.datatype);
    if (!dims.empty()) append_bytes_field(input, 3, dims);
    if (shared != nullptr) append_proto_place(input, 4, shared->region, shared->inputs[i]);
    append_bytes_field(message, 5, input);
  }
  if (shared != nullptr) {
    for (const SharedPlace& place : shared->outputs) {
      std::string output;
      append_bytes_field(output, 1, place.tensor);
      append_proto_place(output, 2, shared->region, place);
      append_bytes_field(message, 6, output);
    }
    return message;
  }
  for (const Tensor& tensor : sample.inputs) append_bytes_field(message, 7, tensor.bytes);
  return message;
}

Result<std::string> first_json_output(std::string_view body, std::size_t header_length) {
  const bool has_header = header_length != kNoHeaderLength;
  if (has_header && header_length > body.size())
    return internal_error("Inference-Header-Content-Length is over the body's size");
  auto json = parse_json(has_header ? body.substr(0, header_length) : body);
  if (!json.ok()) return internal_error("answer: " + json.status().message());
  const Json* outputs = json->find("outputs");
  if (outputs == nullptr || outputs->items.empty()) return internal_error("the answer has no outputs");
  const Json& first = outputs->items[0];
  const Json* parameters = first.find("parameters");
  if (const Json* size = parameters != nullptr ? parameters->find("binary_data_size") : nullptr) {
    const auto bytes = static_cast<std::size_t>(size->integer());
    if (!has_header || bytes > body.size() - header_length)
      return internal_error("the answer's binary_data_size is over its body");
    return std::string(body.substr(header_length, bytes));
  }
  const Json* data = first.find("data");
  const Json* datatype = first.find("datatype");
  if (data == nullptr || datatype == nullptr)
    return internal_error("the answer's first output has neither data nor binary_data_size");
  return elements_from_json(datatype->text, *data);
}

Result<std::string> first_proto_output(std::string_view message) {
  ProtoReader response(message);
  bool has_output = false;
  std::optional<std::string> raw;
  std::string contents;
  while (response.next()) {
    if (response.field() == 6 && !raw) raw = response.bytes();
    if (response.field() != 5 || has_output) continue;
    has_output = true;
    ProtoReader output(response.bytes());
    while (output.next()) {
      if (output.field() != 5) continue;
      // Typed contents: every packed list of fixed-size numbers is the bytes themselves.
      ProtoReader typed(output.bytes());
      while (typed.next()) {
        if (typed.is_bytes()) contents += typed.bytes();
      }
    }
  }
  if (!response.ok()) return internal_error("the answer is no valid ModelInferResponse");
  if (!has_output) return internal_error("the answer has no outputs");
  return raw ? *raw : contents;
}

}  // namespace

std::string_view to_string(Format format) {
  switch (format) {
    case Format::http_json: return "json";
    case Format::http_binary: return "binary";
    case Format::grpc: return "grpc";
  }
  return "";
}

std::string model_path(const Target& target) {
  std::string path = "/v2/models/" + target.model;
  if (!target.version.empty()) path += "/versions/" + target.version;
  return path;
}

std::string model_request_message(const Target& target) {
  std::string message;
  append_bytes_field(message, 1, target.model);
  if (!target.version.empty()) append_bytes_field(message, 2, target.version);
  return message;
}

Exchange http_get(const Target& target, std::string_view path) {
  return {"GET " + std::string(path) + " HTTP/1.1\r\nHost: " + target.authority + "\r\nAccept: */*\r\n\r\n", ""};
}

Exchange grpc_call(std::string_view method, std::string_view message) {
  Exchange call{"/inference.GRPCInferenceService/" + std::string(method), std::string(1, '\0')};
  for (int shift = 24; shift >= 0; shift -= 8) call.body += static_cast<char>(message.size() >> shift & 0xFF);
  call.body += message;
  return call;
}

Exchange http_post(const Target& target, std::string_view path, std::string body) {
  std::string head = "POST " + std::string(path) + " HTTP/1.1\r\nHost: " + target.authority +
                     "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) +
                     "\r\n\r\n";
  return {std::move(head), std::move(body)};
}

Exchange infer_exchange(Format format, const Target& target, const Sample& sample, const SharedRequest* shared) {
  if (format == Format::grpc) return grpc_call("ModelInfer", proto_request(target, sample, shared));
  const bool binary = format == Format::http_binary && shared == nullptr;
  Exchange exchange;
  exchange.body = json_request(sample, binary, shared);
  const std::size_t json_size = exchange.body.size();
  if (binary) {
    for (const Tensor& tensor : sample.inputs) exchange.body += tensor.bytes;
  }
  exchange.head = "POST " + model_path(target) + "/infer HTTP/1.1\r\nHost: " + target.authority +
                  "\r\nContent-Type: " + (binary ? "application/octet-stream" : "application/json") +
                  "\r\nContent-Length: " + std::to_string(exchange.body.size()) + "\r\n";
  if (binary) exchange.head += "Inference-Header-Content-Length: " + std::to_string(json_size) + "\r\n";
  exchange.head += "\r\n";
  return exchange;
}

Status lists_output(Format format, std::string_view body) {
  if (format == Format::grpc) {
    ProtoReader response(body);
    while (response.next()) {
      if (response.field() == 5) return {};
    }
    return internal_error("the answer has no outputs");
  }
  const auto json = parse_json(body);
  if (!json.ok()) return internal_error("answer: " + json.status().message());
  const Json* outputs = json->find("outputs");
  return outputs == nullptr || outputs->items.empty() ? internal_error("the answer has no outputs") : Status();
}

Result<std::string> first_output(Format format, std::string_view body, std::size_t header_length) {
  return format == Format::grpc ? first_proto_output(body) : first_json_output(body, header_length);
}

}  // namespace argosy::load
