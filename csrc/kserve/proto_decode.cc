#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "kserve/contents.h"
#include "kserve/proto_infer.h"
#include "kserve/wire.h"

namespace argosy::kserve {
namespace {

// Far above any model, and low enough that a message of empty entries stays cheap.
constexpr std::size_t kMostTensors = 16384;

enum class Choice : std::uint8_t { none, boolean, int64, string, number, uint64 };
struct Param {
  std::string_view key;
  Choice choice = Choice::none;
  std::uint64_t bits = 0;  // boolean, int64, uint64
  double number = 0;
  std::string_view text;
};

bool read_choice(std::string_view message, Param& param) {
  WireReader reader(message);
  while (reader.next()) {
    if (reader.is(1, WireType::varint) || reader.is(2, WireType::varint) || reader.is(5, WireType::varint)) {
      const std::uint32_t field = reader.field();
      if (!reader.varint(param.bits)) return false;
      param.choice = field == 1 ? Choice::boolean : field == 2 ? Choice::int64 : Choice::uint64;
    } else if (reader.is(3, WireType::bytes)) {
      if (!reader.bytes(param.text)) return false;
      param.choice = Choice::string;
    } else if (reader.is(4, WireType::fixed64)) {
      std::uint64_t bits = 0;
      if (!reader.fixed64(bits)) return false;
      std::memcpy(&param.number, &bits, sizeof(bits));
      param.choice = Choice::number;
    } else {
      reader.skip();
    }
  }
  return reader.ok();
}

std::optional<Param> read_param(std::string_view entry) {
  Param param;
  WireReader reader(entry);
  while (reader.next()) {
    std::string_view value;
    if (reader.is(1, WireType::bytes)) {
      reader.bytes(param.key);
    } else if (reader.is(2, WireType::bytes)) {
      if (reader.bytes(value) && !read_choice(value, param)) return std::nullopt;
    } else {
      reader.skip();
    }
  }
  if (!reader.ok()) return std::nullopt;
  return param;
}

Status wrong_type(std::string_view key, std::string_view expected) {
  return invalid_argument("invalid value type for '" + std::string(key) + "' parameter, expected " +
                          std::string(expected) + ".");
}

Status read_flag(const Param& param, bool& to) {
  if (param.choice != Choice::boolean) return wrong_type(param.key, "bool_param");
  to = param.bits != 0;
  return {};
}

Status request_parameter(const Param& param, infer::Request& request) {
  if (param.key == "sequence_id") {
    if (param.choice == Choice::int64) {
      request.sequence.id = param.bits;
    } else if (param.choice == Choice::string) {
      request.sequence.id = std::string(param.text);
    } else {
      return wrong_type(param.key, "int64_param or string_param");
    }
    return {};
  }
  if (param.key == "sequence_start") return read_flag(param, request.sequence.start);
  if (param.key == "sequence_end") return read_flag(param, request.sequence.end);
  if (param.key == "priority") {
    if (param.choice != Choice::int64 && param.choice != Choice::uint64)
      return wrong_type(param.key, "int64_param or uint64_param");
    if (param.choice == Choice::int64 && static_cast<std::int64_t>(param.bits) < 0) {
      return invalid_argument("invalid value for 'priority', expected value >= 0.");
    }
    request.priority = param.bits;
    return {};
  }
  if (param.key == "timeout") {
    if (param.choice != Choice::int64) return wrong_type(param.key, "int64_param");
    if (static_cast<std::int64_t>(param.bits) < 0)
      return invalid_argument("invalid value for 'timeout', expected value >= 0.");
    request.timeout_us = param.bits;
    return {};
  }
  if (param.key.starts_with("triton_")) {
    if (param.key == "triton_enable_empty_final_response") return read_flag(param, request.wants_empty_final);
    return invalid_argument(
        "parameter keys starting with 'triton_' are reserved for Triton usage. Only the following keys starting with "
        "'triton_' are allowed: triton_enable_empty_final_response");
  }
  infer::Parameter custom{std::string(param.key), {}};
  switch (param.choice) {
    case Choice::boolean: custom.value = param.bits != 0; break;
    case Choice::int64: custom.value = static_cast<std::int64_t>(param.bits); break;
    case Choice::string: custom.value = std::string(param.text); break;
    case Choice::number: custom.value = param.number; break;
    case Choice::uint64:
    case Choice::none: return wrong_type(param.key, "int64_param, bool_param, or string_param");
  }
  request.parameters.push_back(std::move(custom));
  return {};
}

// Nothing: the parameter is not about shared memory.
std::optional<Status> take(const Param& param, std::string_view tensor, RegionReference& to) {
  const auto typed = [&](bool fits, bool& seen, std::string_view expected) -> Status {
    seen = true;
    if (fits) return {};
    return invalid_argument("invalid value type for '" + std::string(param.key) + "' parameter for tensor '" +
                            std::string(tensor) + "', expected " + std::string(expected) + ".");
  };
  const bool integer = param.choice == Choice::int64;
  if (param.key == "shared_memory_region") {
    to.region = param.text;
    return typed(param.choice == Choice::string, to.has_region, "string_param");
  }
  // A negative one is beyond any region.
  if (param.key == "shared_memory_offset") {
    to.offset = param.bits;
    return typed(integer, to.has_offset, "int64_param");
  }
  if (param.key == "shared_memory_byte_size") {
    to.byte_size = param.bits;
    return typed(integer, to.has_byte_size, "int64_param");
  }
  return std::nullopt;
}

struct Input {
  tensor::Tensor tensor;
  std::string_view dtype;
  RegionReference shm;
  bool has_contents = false;
  std::string_view contents;
};

Status read_shape(WireReader& reader, tensor::Shape& shape) {
  std::uint64_t dim = 0;
  if (reader.type() == WireType::varint) {
    if (reader.varint(dim)) shape.push_back(static_cast<std::int64_t>(dim));
    return {};
  }
  std::string_view packed;
  if (!reader.bytes(packed)) return {};
  WireReader dims(packed);
  while (!dims.at_end()) {
    if (!dims.raw_varint(dim)) return not_an_infer_request();
    shape.push_back(static_cast<std::int64_t>(dim));
  }
  return {};
}

Status read_input(std::string_view message, Input& input) {
  std::vector<std::string_view> parameters;
  WireReader reader(message);
  while (reader.next()) {
    std::string_view text;
    if (reader.is(1, WireType::bytes)) {
      if (reader.bytes(text)) input.tensor.name = text;
    } else if (reader.is(2, WireType::bytes)) {
      reader.bytes(input.dtype);
    } else if (reader.is(3, WireType::bytes) || reader.is(3, WireType::varint)) {
      if (auto status = read_shape(reader, input.tensor.shape); !status.ok()) return status;
    } else if (reader.is(4, WireType::bytes)) {
      if (reader.bytes(text)) parameters.push_back(text);
    } else if (reader.is(5, WireType::bytes)) {
      if (input.has_contents)
        return invalid_argument("'contents' is given twice for input tensor '" + input.tensor.name + "'");
      input.has_contents = reader.bytes(input.contents);
    } else {
      reader.skip();
    }
  }
  if (!reader.ok()) return not_an_infer_request();
  for (const std::string_view entry : parameters) {
    const auto param = read_param(entry);
    if (!param) return not_an_infer_request();
    // Other parameters of an input have no meaning in the protocol.
    if (const auto status = take(*param, input.tensor.name, input.shm); status && !status->ok()) return *status;
  }
  if (auto status = input.shm.check(input.tensor.name); !status.ok()) return status;
  const auto dtype = tensor::parse_dtype(input.dtype);
  if (!dtype) {
    return invalid_argument("invalid datatype for input " + input.tensor.name + ": got '" + std::string(input.dtype) +
                            "'");
  }
  input.tensor.dtype = *dtype;
  return {};
}

Status read_output(std::string_view message, WantedOutput& output, RegionReference& shm) {
  std::vector<std::string_view> parameters;
  WireReader reader(message);
  while (reader.next()) {
    std::string_view text;
    if (reader.is(1, WireType::bytes)) {
      if (reader.bytes(text)) output.name = text;
    } else if (reader.is(2, WireType::bytes)) {
      if (reader.bytes(text)) parameters.push_back(text);
    } else {
      reader.skip();
    }
  }
  if (!reader.ok()) return not_an_infer_request();
  for (const std::string_view entry : parameters) {
    const auto param = read_param(entry);
    if (!param) return not_an_infer_request();
    if (param->key == "classification") {
      if (param->choice != Choice::int64) {
        return invalid_argument("invalid value type for 'classification' parameter, expected int64_param");
      }
      if (static_cast<std::int64_t>(param->bits) <= 0) {
        return invalid_argument("invalid value for 'classification' parameter, expected >= 0");
      }
      output.classification = param->bits;
    } else if (const auto status = take(*param, output.name, shm); status && !status->ok()) {
      return *status;
    }
  }
  if (auto status = shm.check(output.name); !status.ok()) return status;
  if (shm.has_region && output.classification > 0) {
    return invalid_argument("output can't set both 'shared_memory_region' and 'classification'");
  }
  output.in_region = shm.has_region;
  return {};
}

// The parts of the message as views, before any is interpreted: the model's name and
// the id may stand after what needs them.
struct Sections {
  std::vector<std::string_view> parameters, inputs, outputs, raw;
};

Status split(std::string_view message, ModelInferCall& call, Sections& parts) {
  WireReader reader(message);
  while (reader.next()) {
    std::string_view text;
    if (reader.field() > 7 || reader.type() != WireType::bytes) {
      reader.skip();
      continue;
    }
    if (!reader.bytes(text)) break;
    switch (reader.field()) {
      case 1: call.model_name = text; break;
      case 2: call.model_version = text; break;
      case 3: call.request->id = text; break;
      case 4: parts.parameters.push_back(text); break;
      case 5: parts.inputs.push_back(text); break;
      case 6: parts.outputs.push_back(text); break;
      default: parts.raw.push_back(text); break;
    }
  }
  if (!reader.ok()) return not_an_infer_request();
  if (parts.inputs.size() > kMostTensors || parts.outputs.size() > kMostTensors) {
    return invalid_argument("a request may have at most " + std::to_string(kMostTensors) + " inputs and outputs, got " +
                            std::to_string(parts.inputs.size()) + " and " + std::to_string(parts.outputs.size()));
  }
  return {};
}

Status attach_data(Input& input, const Bytes& message, const Sections& parts, std::size_t& next_raw,
                   ModelInferCall& call, BytesPool& pool, const shm::Regions* regions) {
  const std::string& model = call.model_name;
  const std::string& name = input.tensor.name;
  const bool typed = input.has_contents && !input.contents.empty();
  if (input.shm.has_region) {
    if (typed) {
      return invalid_argument("unexpected 'content' provided when using shared memory for input tensor '" + name +
                              "' for model '" + model + "'");
    }
    // Memory of a region is the client's; only copies count as the request's.
    return take_region_input(regions, input.shm, input.tensor, pool, call.regions, call.request->bytes);
  }
  if (typed && !parts.raw.empty()) {
    return invalid_argument("contents field must not be specified when using raw_input_contents for '" + name +
                            "' for model '" + model + "'");
  }
  if (typed) {
    auto bytes = read_contents(input.contents, input.tensor.dtype, {name, model}, pool);
    if (!bytes.ok()) return bytes.status();
    input.tensor.data = *std::move(bytes);
    return {};
  }
  if (next_raw < parts.raw.size()) {
    const std::string_view raw = parts.raw[next_raw++];
    input.tensor.data = message.slice(static_cast<std::size_t>(raw.data() - message.view().data()), raw.size());
    return {};
  }
  // Without elements there is nothing to send.
  if (input.tensor.shape.element_count() == 0) return {};
  return invalid_argument("unable to find data for input tensor '" + name + "' for model '" + model + "' in request.");
}

Status decode(const Bytes& message, ModelInferCall& call, BytesPool& pool, const shm::Regions* regions) {
  Sections parts;
  if (auto status = split(message.view(), call, parts); !status.ok()) return status;
  infer::Request& request = *call.request;
  for (const std::string_view entry : parts.parameters) {
    const auto param = read_param(entry);
    if (!param) return not_an_infer_request();
    if (auto status = request_parameter(*param, request); !status.ok()) return status;
  }
  std::size_t next_raw = 0;
  request.inputs.reserve(parts.inputs.size());
  for (const std::string_view text : parts.inputs) {
    Input input;
    if (auto status = read_input(text, input); !status.ok()) return status;
    if (auto status = attach_data(input, message, parts, next_raw, call, pool, regions); !status.ok()) return status;
    if (!input.shm.has_region) request.bytes += input.tensor.data.size();
    request.inputs.push_back(std::move(input.tensor));
  }
  for (const std::string_view text : parts.outputs) {
    WantedOutput output;
    RegionReference shm;
    if (auto status = read_output(text, output, shm); !status.ok()) return status;
    if (output.in_region) {
      if (auto status = take_region_output(regions, shm, output.name, call.regions); !status.ok()) return status;
    }
    request.wanted.push_back(output.name);
    call.plan.outputs.push_back(std::move(output));
  }
  return {};
}

}  // namespace

ModelInferCall decode_model_infer(const Bytes& message, BytesPool& pool, const shm::Regions* regions) {
  ModelInferCall call;
  call.request = std::make_unique<infer::Request>();
  call.status = decode(message, call, pool, regions);
  return call;
}

}  // namespace argosy::kserve
