#include "kserve/json_infer.h"

#include <charconv>
#include <utility>
#include <vector>

#include "kserve/json_parameters.h"
#include "kserve/json_reader.h"
#include "kserve/json_tensor.h"

namespace argosy::kserve {
namespace {

std::string of_limit(std::size_t max_bytes) {
  return std::to_string(max_bytes) + " bytes. Use --http-max-input-size to increase the limit.";
}

// One entry of "inputs"; its members may come in any order.
struct Draft {
  tensor::Tensor tensor;
  std::optional<tensor::DType> dtype;
  std::string dtype_text;
  bool has_name = false, has_shape = false, has_data = false;
  const char* data_at = nullptr;  // set while `data` waits for what came after it
  TensorParameters parameters;
};

class InferDecoder {
 public:
  InferDecoder(const Bytes& body, std::size_t header_size, std::string_view model, const JsonLimits& limits,
               BytesPool& pool, const shm::Regions* regions)
      : body_(body),
        header_size_(header_size),
        model_(model),
        limits_(limits),
        pool_(pool),
        regions_(regions),
        reader_(body.view().substr(0, header_size)) {
    out_.request = std::make_unique<infer::Request>();
  }

  Result<Decoded> run() {
    if (!read_request()) return reader_.status();
    if (auto status = attach_payloads(); !status.ok()) return status;
    return std::move(out_);
  }

 private:
  bool read_request() {
    reader_.at("request");
    if (!reader_.enter_object()) return false;
    bool has_inputs = false;
    std::string_view key;
    while (reader_.next_key(key)) {
      if (key == "id") {
        std::string_view id;
        reader_.at("id");
        if (reader_.read_string(id)) out_.request->id = id;
      } else if (key == "parameters") {
        read_request_parameters(reader_, *out_.request, out_.plan.binary_default);
      } else if (key == "inputs") {
        if (has_inputs) return reader_.fail(invalid_argument("Unable to parse 'inputs': given twice"));
        has_inputs = true;
        read_inputs();
      } else if (key == "outputs") {
        read_outputs();
      } else {
        reader_.skip();
      }
    }
    if (!reader_.at_end()) return false;
    if (has_inputs) return true;
    return reader_.fail(
        invalid_argument("Unable to parse 'inputs': the request has no member 'inputs', expected an array"));
  }

  bool read_inputs() {
    reader_.at("inputs");
    if (!reader_.enter_array()) return false;
    while (reader_.next_element()) {
      Draft draft;
      if (!read_input(draft)) return false;
      // Memory of a region is the client's.
      if (!draft.parameters.shared_memory.has_region) out_.request->bytes += draft.tensor.data.size();
      payloads_.push_back(draft.parameters.binary_data_size);
      out_.request->inputs.push_back(std::move(draft.tensor));
    }
    return reader_.ok();
  }

  bool read_input(Draft& draft) {
    reader_.at("inputs");
    if (!reader_.enter_object()) return false;
    std::string_view key;
    while (reader_.next_key(key)) {
      std::string_view text;
      if (key == "name") {
        reader_.at("name");
        draft.has_name = reader_.read_string(text);
        if (draft.has_name) draft.tensor.name = text;
      } else if (key == "datatype") {
        reader_.at("datatype");
        if (reader_.read_string(text)) {
          draft.dtype_text = text;
          draft.dtype = tensor::parse_dtype(text);
        }
      } else if (key == "shape") {
        if (draft.has_shape) return fail_input(draft, "'shape' is given twice");
        draft.has_shape = read_shape(draft.tensor.shape);
      } else if (key == "parameters") {
        read_tensor_parameters(reader_, draft.parameters);
      } else if (key == "data") {
        if (draft.has_data) return fail_input(draft, "'data' is given twice");
        draft.has_data = true;
        if (draft.has_name && draft.has_shape && draft.dtype) {
          read_data(draft);
        } else {
          reader_.peek();  // over the blanks
          draft.data_at = reader_.cursor();
          reader_.skip();
        }
      } else {
        reader_.skip();
      }
    }
    return reader_.ok() && finish_input(draft);
  }

  bool finish_input(Draft& draft) {
    if (!draft.has_name)
      return fail_input(draft, "Unable to parse 'name': the input has no member 'name', expected a string");
    if (draft.dtype_text.empty()) {
      return fail_input(draft, "Unable to parse 'datatype': the input has no member 'datatype', expected a string");
    }
    if (!draft.dtype) {
      return fail_input(draft, "invalid datatype for input " + draft.tensor.name + ": got '" + draft.dtype_text + "'");
    }
    if (!draft.has_shape)
      return fail_input(draft, "Unable to parse 'shape': the input has no member 'shape', expected an array");
    draft.tensor.dtype = *draft.dtype;
    const TensorParameters& parameters = draft.parameters;
    const int sources =
        int{draft.has_data} + int{parameters.binary_data_size.has_value()} + int{parameters.shared_memory.has_region};
    if (sources != 1) {
      std::string text =
          "Input must set only one of the following fields: 'data', 'binary_data_size' in 'parameters', "
          "'shared_memory_region' in 'parameters'. But ";
      if (sources == 0) return fail_input(draft, text + "no field is set");
      text += "set";
      if (draft.has_data) text += " 'data'";
      if (parameters.binary_data_size) text += " 'binary_data_size'";
      if (parameters.shared_memory.has_region) text += " 'shared_memory_region'";
      return fail_input(draft, text);
    }
    if (!refer(parameters.shared_memory, draft.tensor.name)) return false;
    if (!element_count(draft)) return false;
    if (parameters.shared_memory.has_region) {
      const Status taken =
          take_region_input(regions_, parameters.shared_memory, draft.tensor, pool_, out_.regions, out_.request->bytes);
      return taken.ok() || reader_.fail(taken);
    }
    if (draft.data_at == nullptr) return true;
    const char* const after = reader_.cursor();
    reader_.move_to(draft.data_at);
    if (!read_data(draft)) return false;
    reader_.move_to(after);
    return true;
  }

  bool refer(const RegionReference& reference, std::string_view tensor) {
    const Status checked = reference.check(tensor);
    return checked.ok() || reader_.fail(checked);
  }

  bool fail_input(const Draft& draft, std::string text) {
    if (draft.tensor.name.empty()) {
      text += " (inputs[" + std::to_string(out_.request->inputs.size()) + "])";
    } else if (text.find("'" + draft.tensor.name + "'") == std::string::npos) {
      text += " (input '" + draft.tensor.name + "')";
    }
    return reader_.fail(invalid_argument(std::move(text)));
  }

  std::optional<std::size_t> element_count(const Draft& draft) {
    const auto count = draft.tensor.shape.element_count();
    if (count) return static_cast<std::size_t>(*count);
    reader_.fail(invalid_argument("invalid shape for input '" + draft.tensor.name + "': shape " +
                                  tensor::to_string(draft.tensor.shape) +
                                  " causes total element count to exceed maximum size of 9223372036854775807"));
    return std::nullopt;
  }

  bool read_data(Draft& draft) {
    const auto count = element_count(draft);
    if (!count) return false;
    if (*count == 0) return reader_.skip();
    auto data = read_json_tensor(reader_, draft.tensor.name, *draft.dtype, *count, limits_.max_input_bytes, pool_);
    if (!data.ok()) return false;
    draft.tensor.data = *std::move(data);
    return true;
  }

  bool read_shape(tensor::Shape& shape) {
    reader_.at("shape");
    if (!reader_.enter_array()) return false;
    while (reader_.next_element()) {
      std::uint64_t dim = 0;
      if (!reader_.read_u64(dim)) return false;
      if (dim > static_cast<std::uint64_t>(INT64_MAX)) {
        return reader_.fail(invalid_argument("Unable to parse 'shape': the dimension " + std::to_string(dim) +
                                             " exceeds 9223372036854775807"));
      }
      shape.push_back(static_cast<std::int64_t>(dim));
    }
    return reader_.ok();
  }

  bool read_outputs() {
    reader_.at("outputs");
    if (!reader_.enter_array()) return false;
    while (reader_.next_element()) {
      WantedOutput output;
      if (!read_output(output)) return false;
      out_.request->wanted.push_back(output.name);
      out_.plan.outputs.push_back(std::move(output));
    }
    return reader_.ok();
  }

  bool read_output(WantedOutput& output) {
    reader_.at("outputs");
    if (!reader_.enter_object()) return false;
    bool has_name = false;
    TensorParameters parameters;
    std::string_view key;
    while (reader_.next_key(key)) {
      std::string_view text;
      if (key == "name") {
        reader_.at("name");
        has_name = reader_.read_string(text);
        output.name = text;
      } else if (key == "parameters") {
        read_tensor_parameters(reader_, parameters);
      } else {
        reader_.skip();
      }
    }
    if (!reader_.ok()) return false;
    if (!has_name) {
      return reader_.fail(invalid_argument("Unable to parse 'name': outputs[" +
                                           std::to_string(out_.plan.outputs.size()) +
                                           "] has no member 'name', expected a string"));
    }
    if (parameters.shared_memory.has_region && parameters.classification > 0) {
      return reader_.fail(invalid_argument("Output can't set both 'shared_memory_region' and 'classification'"));
    }
    if (parameters.shared_memory.has_region && parameters.binary_data) {
      return reader_.fail(invalid_argument("Output can't set both 'shared_memory_region' and 'binary_data'"));
    }
    if (!refer(parameters.shared_memory, output.name)) return false;
    if (parameters.shared_memory.has_region) {
      const Status taken = take_region_output(regions_, parameters.shared_memory, output.name, out_.regions);
      if (!taken.ok()) return reader_.fail(taken);
      output.in_region = true;
    }
    output.classification = parameters.classification;
    output.binary = parameters.binary_data;
    return true;
  }

  // Binary payloads follow the JSON in the order of the inputs that announced them.
  Status attach_payloads() {
    std::size_t at = header_size_;
    for (std::size_t i = 0; i < payloads_.size(); ++i) {
      if (!payloads_[i]) continue;
      tensor::Tensor& input = out_.request->inputs[i];
      const std::size_t left = body_.size() - at;
      if (*payloads_[i] > left) {
        return invalid_argument("unexpected size for input '" + input.name + "', expecting " +
                                std::to_string(*payloads_[i] - left) + " additional bytes for model '" +
                                std::string(model_) + "'");
      }
      const auto size = static_cast<std::size_t>(*payloads_[i]);
      input.data = body_.slice(at, size);
      out_.request->bytes += size;
      at += size;
    }
    if (at == body_.size()) return {};
    for (std::size_t i = payloads_.size(); i-- > 0;) {
      if (payloads_[i]) {
        return invalid_argument("unexpected additional input data for model '" + std::string(model_) +
                                "': " + std::to_string(body_.size() - at) + " bytes after input '" +
                                out_.request->inputs[i].name + "'");
      }
    }
    return invalid_argument("unexpected additional input data for model '" + std::string(model_) +
                            "': " + std::to_string(body_.size() - at) + " bytes, and no input has 'binary_data_size'");
  }

  const Bytes& body_;
  const std::size_t header_size_;
  const std::string_view model_;
  const JsonLimits& limits_;
  BytesPool& pool_;
  const shm::Regions* const regions_;
  JsonReader reader_;
  Decoded out_;
  std::vector<std::optional<std::uint64_t>> payloads_;  // of each input
};

Result<std::size_t> header_size_of(std::optional<std::string_view> text, std::size_t body_size) {
  if (!text) return body_size;
  std::int64_t size = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), size);
  if (error != std::errc() || end != text->data() + text->size()) {
    return invalid_argument("Unable to parse Inference-Header-Content-Length, got: " +
                            std::string(text->substr(0, 100)));
  }
  if (size < 0 || static_cast<std::uint64_t>(size) > body_size) {
    return invalid_argument("inference header size should be in range (0, " + std::to_string(body_size) +
                            "), got: " + std::string(*text));
  }
  return static_cast<std::size_t>(size);
}

Result<Decoded> raw_request(const Bytes& body, const JsonLimits& limits) {
  if (body.size() > limits.max_input_bytes) {
    return invalid_argument("Raw input has a byte_size (" + std::to_string(body.size()) +
                            " bytes) that exceeds the maximum allowed value of " + of_limit(limits.max_input_bytes));
  }
  Decoded out;
  out.request = std::make_unique<infer::Request>();
  out.request->raw_input = true;
  out.request->bytes = body.size();
  out.request->inputs.emplace_back().data = body;
  out.plan.binary_default = true;
  return out;
}

}  // namespace

Result<Decoded> decode_http_infer(const Bytes& body, std::optional<std::string_view> header_length,
                                  std::string_view model_name, const JsonLimits& limits, BytesPool& pool,
                                  const shm::Regions* regions) {
  const auto header_size = header_size_of(header_length, body.size());
  if (!header_size.ok()) return header_size.status();
  if (*header_size == 0) return raw_request(body, limits);
  if (*header_size > limits.max_input_bytes) {
    return invalid_argument("request JSON size of " + std::to_string(*header_size) +
                            " bytes exceeds the maximum allowed input size of " + of_limit(limits.max_input_bytes));
  }
  return InferDecoder(body, *header_size, model_name, limits, pool, regions).run();
}

}  // namespace argosy::kserve
