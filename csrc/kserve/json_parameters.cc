#include "kserve/json_parameters.h"

#include <charconv>
#include <string>

#include "kserve/decimal.h"

namespace argosy::kserve {
namespace {

bool read_sequence_id(JsonReader& reader, infer::SequenceId& id) {
  reader.at("sequence_id");
  if (reader.peek() == JsonKind::string) {
    std::string_view text;
    if (!reader.read_string(text)) return false;
    id = std::string(text);
    return true;
  }
  std::uint64_t number = 0;
  if (!reader.read_u64(number)) return false;
  id = number;
  return true;
}

bool read_flag(JsonReader& reader, std::string_view name, bool& to) {
  reader.at(name);
  return reader.read_bool(to);
}

bool read_unsigned(JsonReader& reader, std::string_view name, std::uint64_t& to) {
  reader.at(name);
  return reader.read_u64(to);
}

}  // namespace

bool read_custom_parameter(JsonReader& reader, std::string_view key, infer::Parameters& to) {
  infer::Parameter parameter{std::string(key), {}};
  switch (reader.peek()) {
    case JsonKind::string: {
      std::string_view text;
      if (!reader.read_string(text)) return false;
      parameter.value = std::string(text);
      break;
    }
    case JsonKind::boolean: {
      bool flag = false;
      if (!reader.read_bool(flag)) return false;
      parameter.value = flag;
      break;
    }
    case JsonKind::number: {
      std::string_view token;
      if (!reader.number_token(token)) return false;
      std::int64_t integer = 0;
      double number = 0;
      const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), integer);
      if (error == std::errc() && end == token.data() + token.size()) {
        parameter.value = integer;
      } else if (parse_json_double(token, number)) {
        parameter.value = number;
      } else {
        return reader.fail(invalid_argument("parameter '" + parameter.name +
                                            "' is a number too large: " + std::string(token.substr(0, 40))));
      }
      break;
    }
    case JsonKind::nothing: return reader.fail_syntax("expected a value");
    default:
      return reader.fail(invalid_argument("parameter '" + parameter.name +
                                          "' has invalid type. It should be either 'int', 'bool', or 'string'."));
  }
  to.push_back(std::move(parameter));
  return true;
}

bool read_request_parameters(JsonReader& reader, infer::Request& request, bool& binary_default) {
  reader.at("parameters");
  if (!reader.enter_object()) return false;
  std::string_view key;
  while (reader.next_key(key)) {
    if (key == "sequence_id") {
      read_sequence_id(reader, request.sequence.id);
    } else if (key == "sequence_start") {
      read_flag(reader, "sequence_start", request.sequence.start);
    } else if (key == "sequence_end") {
      read_flag(reader, "sequence_end", request.sequence.end);
    } else if (key == "priority") {
      read_unsigned(reader, "priority", request.priority);
    } else if (key == "timeout") {
      read_unsigned(reader, "timeout", request.timeout_us);
    } else if (key == "binary_data_output") {
      read_flag(reader, "binary_data_output", binary_default);
    } else if (key.starts_with("triton_")) {
      reader.fail(invalid_argument(
          "parameter keys starting with 'triton_' are reserved for Triton usage and should not be specified."));
    } else {
      read_custom_parameter(reader, key, request.parameters);
    }
  }
  return reader.ok();
}

bool read_tensor_parameters(JsonReader& reader, TensorParameters& to) {
  RegionReference& shm = to.shared_memory;
  reader.at("parameters");
  if (!reader.enter_object()) return false;
  std::string_view key;
  while (reader.next_key(key)) {
    std::uint64_t number = 0;
    std::string_view text;
    if (key == "binary_data_size") {
      if (read_unsigned(reader, "binary_data_size", number)) to.binary_data_size = number;
    } else if (key == "classification") {
      read_unsigned(reader, "classification", to.classification);
    } else if (key == "binary_data") {
      read_flag(reader, "binary_data", to.binary_data);
    } else if (key == "shared_memory_region") {
      reader.at("shared_memory_region");
      shm.has_region = reader.read_string(text);
      shm.region = text;
    } else if (key == "shared_memory_offset") {
      shm.has_offset = read_unsigned(reader, "shared_memory_offset", shm.offset);
    } else if (key == "shared_memory_byte_size") {
      shm.has_byte_size = read_unsigned(reader, "shared_memory_byte_size", shm.byte_size);
    } else {
      reader.skip();
    }
  }
  return reader.ok();
}

}  // namespace argosy::kserve
