#include "kserve/generate.h"

#include <algorithm>
#include <utility>
#include <variant>
#include <vector>

#include "kserve/json_parameters.h"
#include "kserve/json_reader.h"
#include "kserve/json_tensor.h"
#include "kserve/json_value.h"

namespace argosy::kserve {
namespace {

const model::TensorSpec* input_named(const model::ModelSpec& spec, std::string_view name) {
  for (const model::TensorSpec& input : spec.inputs) {
    if (input.name == name) return &input;
  }
  return nullptr;
}

// The shape of `count` elements: the innermost open dimension takes what the fixed
// ones leave, the other open ones are 1. Nothing: it does not come out even.
std::optional<tensor::Shape> shape_for(std::size_t count, const model::TensorSpec& input, bool batches) {
  tensor::Shape shape = batches ? input.dims.with_first(-1) : input.dims;
  auto left = static_cast<std::int64_t>(count);
  std::optional<std::size_t> innermost;
  for (std::size_t i = 0; i < shape.rank(); ++i) {
    if (shape[i] < 0) {
      innermost = i;
    } else if (shape[i] == 0 || left % shape[i] != 0) {
      return std::nullopt;
    } else {
      left /= shape[i];
    }
  }
  if (!innermost && left != 1) return std::nullopt;
  for (std::size_t i = 0; i < shape.rank(); ++i) {
    if (shape[i] < 0) shape.set(i, i == *innermost ? left : 1);
  }
  return shape;
}

class GenerateDecoder {
 public:
  GenerateDecoder(const Bytes& body, const model::ModelSpec& spec, const JsonLimits& limits, BytesPool& pool)
      : spec_(spec), limits_(limits), pool_(pool), reader_(body.view()) {
    out_.request = std::make_unique<infer::Request>();
  }

  Result<Decoded> run() {
    reader_.at("request");
    if (!reader_.enter_object()) return reader_.status();
    std::size_t bytes = 0;
    std::string_view key;
    while (reader_.next_key(key)) {
      if (key == "id" && reader_.peek() == JsonKind::string) {
        read_id();
      } else if (key == "parameters") {
        if (auto status = read_nested(); !status.ok()) return status;
        continue;
      }
      read_member(key, bytes);
    }
    if (!reader_.at_end()) return reader_.status();
    return std::move(out_);
  }

 private:
  // The id counts as a member like the others too, so it is read from a copy.
  void read_id() {
    JsonReader copy(std::string_view(reader_.cursor(), static_cast<std::size_t>(reader_.end() - reader_.cursor())));
    std::string_view id;
    if (copy.read_string(id)) out_.request->id = id;
  }

  Status read_nested() {
    if (input_named(spec_, "parameters") != nullptr) {
      return invalid_argument("Keyword 'parameters' for nested schema also given as input tensor name");
    }
    if (reader_.peek() != JsonKind::object) {
      return invalid_argument("Expected JSON object for keyword: 'parameters': got " +
                              std::string(to_string(reader_.peek())) + " at offset " +
                              std::to_string(reader_.offset()));
    }
    reader_.enter_object();
    std::size_t bytes = 0;
    std::string_view key;
    while (reader_.next_key(key)) read_member(key, bytes);
    if (reader_.ok()) return {};
    return {reader_.status().code(), "Converting keyword: 'parameters': " + reader_.status().message()};
  }

  // `level_bytes`: the tensors of this object so far.
  bool read_member(std::string_view key, std::size_t& level_bytes) {
    const model::TensorSpec* input = input_named(spec_, key);
    return input == nullptr ? read_custom_parameter(reader_, key, out_.request->parameters)
                            : read_tensor(*input, level_bytes);
  }

  bool read_tensor(const model::TensorSpec& input, std::size_t& level_bytes) {
    reader_.at("data");
    const char* const start = (reader_.peek(), reader_.cursor());
    const bool is_array = reader_.peek() == JsonKind::array;
    std::size_t count = 1;
    if (is_array) {
      count = 0;
      reader_.enter_array();
      while (reader_.next_element()) {
        const JsonKind kind = reader_.peek();
        if (kind == JsonKind::array || kind == JsonKind::object) {
          return reader_.fail(invalid_argument("Unable to parse '" + input.name +
                                               "': expected a value or a flat array, got " +
                                               std::string(to_string(kind)) + " as element " + std::to_string(count)));
        }
        if (!reader_.skip()) return false;
        ++count;
      }
    } else {
      reader_.skip();
    }
    if (!reader_.ok()) return false;

    tensor::Tensor tensor{input.name, input.dtype, {}, {}};
    if (count > 0) {
      const auto shape = shape_for(count, input, spec_.batches());
      if (!shape) {
        return reader_.fail(invalid_argument("The schema can not convert input '" + input.name +
                                             "' to tensor with proper shape: " + std::to_string(count) +
                                             " elements do not fit " + tensor::to_string(input.dims)));
      }
      tensor.shape = *shape;
      const std::string_view text(start, static_cast<std::size_t>(reader_.cursor() - start));
      const std::string wrapped = is_array ? std::string() : "[" + std::string(text) + "]";
      JsonReader data(is_array ? text : std::string_view(wrapped));
      auto elements = read_json_tensor(data, input.name, input.dtype, count, limits_.max_input_bytes, pool_);
      if (!elements.ok()) return reader_.fail(elements.status());
      tensor.data = *std::move(elements);
    }
    level_bytes += tensor.data.size();
    if (level_bytes > limits_.max_input_bytes) {
      return reader_.fail(invalid_argument(
          "request size of " + std::to_string(level_bytes) + " bytes with input '" + input.name + "' of size " +
          std::to_string(tensor.data.size()) + " bytes exceeds the maximum allowed input size of " +
          std::to_string(limits_.max_input_bytes) + ". Use --http-max-input-size to increase the limit."));
    }
    out_.request->bytes += tensor.data.size();
    out_.request->inputs.push_back(std::move(tensor));
    return true;
  }

  const model::ModelSpec& spec_;
  const JsonLimits& limits_;
  BytesPool& pool_;
  JsonReader reader_;
  Decoded out_;
};

struct Member {
  std::string_view key;
  std::variant<std::string_view, const infer::Parameter*, const tensor::Tensor*> value;
};

Status write_member(JsonWriter& writer, const Member& member) {
  writer.string(member.key);
  writer.put(':');
  if (const auto* text = std::get_if<std::string_view>(&member.value)) {
    writer.string(*text);
    return {};
  }
  if (const auto* parameter = std::get_if<const infer::Parameter*>(&member.value)) {
    write_json_value(writer, **parameter);
    return {};
  }
  const tensor::Tensor& tensor = *std::get<const tensor::Tensor*>(member.value);
  if (!tensor.data.on_host()) return internal_error("output '" + tensor.name + "' is not in host memory");
  const bool scalar = tensor.shape.element_count() == 1;
  if (!scalar) writer.put('[');
  if (auto status = write_json_elements(writer, tensor); !status.ok()) return status;
  if (!scalar) writer.put(']');
  return {};
}

}  // namespace

Result<Decoded> decode_generate(const Bytes& body, const model::ModelSpec& spec, const JsonLimits& limits,
                                BytesPool& pool) {
  if (body.size() > limits.max_input_bytes) {
    return invalid_argument(
        "request JSON size of " + std::to_string(body.size()) + " bytes exceeds the maximum allowed input size of " +
        std::to_string(limits.max_input_bytes) + " bytes. Use --http-max-input-size to increase the limit.");
  }
  return GenerateDecoder(body, spec, limits, pool).run();
}

Result<Gather> encode_generate(const infer::Response& response, const model::ModelSpec& spec, std::string_view id,
                               BytesPool& pool) {
  const std::string version = std::to_string(spec.version);
  std::vector<Member> members;
  if (!id.empty()) members.push_back({"id", id});
  members.push_back({"model_name", std::string_view(spec.name)});
  members.push_back({"model_version", std::string_view(version)});
  for (const infer::Parameter& parameter : response.parameters) members.push_back({parameter.name, &parameter});
  for (const tensor::Tensor& tensor : response.outputs) members.push_back({tensor.name, &tensor});
  std::stable_sort(members.begin(), members.end(), [](const Member& a, const Member& b) { return a.key < b.key; });

  JsonWriter writer(pool);
  for (std::size_t i = 0; i < members.size(); ++i) {
    writer.put(i == 0 ? '{' : ',');
    if (auto status = write_member(writer, members[i]); !status.ok()) return status;
  }
  writer.put('}');
  return std::move(writer).finish();
}

Gather as_event(Gather json) {
  Gather out;
  out.add(Bytes::take("data: "));
  for (Bytes& piece : json.pieces) out.add(std::move(piece));
  out.add(Bytes::take("\n\n"));
  return out;
}

}  // namespace argosy::kserve
