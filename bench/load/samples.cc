#include "load/samples.h"

#include <cstring>
#include <random>

#include "load/elements.h"
#include "load/json.h"

namespace argosy::load {
namespace {

std::string text_of(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (const auto dim : shape) text += (text.size() > 1 ? "," : "") + std::to_string(dim);
  return text + "]";
}

Result<std::vector<std::int64_t>> shape_of(const ModelCard& card, const TensorSpec& spec, const SampleRules& rules,
                                           const std::vector<std::int64_t>* given) {
  std::vector<std::int64_t> shape = spec.shape;
  const std::size_t first = card.batched() ? 1 : 0;
  if (card.batched() && !shape.empty()) shape[0] = rules.batch;
  if (const auto found = rules.shapes.find(spec.name); given == nullptr && found != rules.shapes.end())
    given = &found->second;
  if (given != nullptr) {
    if (given->size() + first != shape.size()) {
      return invalid_argument("input '" + spec.name + "': shape " + text_of(*given) + " has " +
                              std::to_string(given->size()) + " dimensions, the model expects " +
                              std::to_string(shape.size() - first) +
                              (first == 1 ? " after the batch dimension of " : " in ") + text_of(spec.shape));
    }
    std::copy(given->begin(), given->end(), shape.begin() + static_cast<std::ptrdiff_t>(first));
  }
  for (const auto dim : shape) {
    if (dim < 0) {
      return invalid_argument("input '" + spec.name + "' has dynamic dimensions " + text_of(spec.shape) +
                              "; give their sizes with --shape " + spec.name + ":<dims" +
                              (first == 1 ? " without the batch dimension>" : ">"));
    }
  }
  return shape;
}

Result<std::size_t> element_count(const Tensor& tensor) {
  constexpr std::uint64_t kMost = std::uint64_t{1} << 31;  // 2 GiB is the most a request can hold
  std::uint64_t count = 1;
  for (const auto dim : tensor.shape) {
    count *= static_cast<std::uint64_t>(dim);
    if (count > kMost)
      return invalid_argument("input '" + tensor.name + "': shape " + text_of(tensor.shape) + " is over 2 GiB");
  }
  return static_cast<std::size_t>(count);
}

void fill(Tensor& tensor, std::size_t count, const SampleRules& rules, std::mt19937_64& random) {
  if (tensor.datatype == "BYTES") {
    const auto length = static_cast<std::uint32_t>(rules.zero ? 0 : rules.string_length);
    for (std::size_t i = 0; i < count; ++i) {
      tensor.bytes.append(reinterpret_cast<const char*>(&length), 4);
      for (std::uint32_t c = 0; c < length; ++c) tensor.bytes += static_cast<char>('a' + random() % 26);
    }
    return;
  }
  const std::size_t size = element_size(tensor.datatype);
  tensor.bytes.assign(count * size, '\0');
  if (rules.zero) return;
  // Floats in [0, 1) and small integers: within range for every type, and valid
  // where a model uses them as indices.
  for (std::size_t i = 0; i < count; ++i) {
    char* at = tensor.bytes.data() + i * size;
    const std::uint64_t bits = random();
    if (tensor.datatype == "FP32") {
      const float value = static_cast<float>(bits >> 40) * 0x1p-24F;
      std::memcpy(at, &value, sizeof value);
    } else if (tensor.datatype == "FP64") {
      const double value = static_cast<double>(bits >> 11) * 0x1p-53;
      std::memcpy(at, &value, sizeof value);
    } else if (tensor.datatype == "FP16" || tensor.datatype == "BF16") {
      const auto value = static_cast<std::uint16_t>(tensor.datatype == "FP16" ? (14 << 10) | (bits & 0x3FF)
                                                                              : (126 << 7) | (bits & 0x7F));
      std::memcpy(at, &value, sizeof value);
    } else {
      *at = static_cast<char>(tensor.datatype == "BOOL" ? bits & 1 : bits % 10);
    }
  }
}

// One tensor entry of an input file, in any of its three spellings.
Result<std::string> bytes_of_entry(const TensorSpec& spec, const Json& entry) {
  if (const Json* encoded = entry.find("b64")) {
    auto bytes = bytes_from_base64(encoded->text);
    if (!bytes.ok()) return invalid_argument("'" + spec.name + "': " + bytes.status().message());
    return bytes;
  }
  const Json* content = entry.find("content");
  if (content != nullptr && content->is(Json::Kind::object)) return bytes_of_entry(spec, *content);
  auto bytes = elements_from_json(spec.datatype, content != nullptr ? *content : entry);
  if (!bytes.ok()) return invalid_argument("'" + spec.name + "': " + bytes.status().message());
  return bytes;
}

std::string repeated(std::string_view bytes, std::int64_t times) {
  std::string all;
  all.reserve(bytes.size() * static_cast<std::size_t>(times));
  for (std::int64_t i = 0; i < times; ++i) all += bytes;
  return all;
}

Result<Sample> sample_from_entry(const ModelCard& card, const SampleRules& rules, const Json& entry) {
  Sample sample;
  const std::int64_t copies = card.batched() ? rules.batch : 1;
  for (const TensorSpec& spec : card.inputs) {
    const Json* given = entry.find(spec.name);
    if (given == nullptr) return invalid_argument("the input file has no entry for input '" + spec.name + "'");
    std::vector<std::int64_t> own_shape;
    const Json* shape_json = given->find("shape");
    if (shape_json != nullptr) {
      for (const Json& dim : shape_json->items) own_shape.push_back(dim.integer());
    }
    auto shape = shape_of(card, spec, rules, shape_json != nullptr ? &own_shape : nullptr);
    if (!shape.ok()) return shape.status();
    auto bytes = bytes_of_entry(spec, *given);
    if (!bytes.ok()) return bytes.status();
    Tensor tensor{spec.name, spec.datatype, std::move(*shape), repeated(*bytes, copies)};
    auto count = element_count(tensor);
    if (!count.ok()) return count.status();
    const std::size_t expected = *count * element_size(spec.datatype);
    if (spec.datatype != "BYTES" && tensor.bytes.size() != expected) {
      return invalid_argument("input '" + spec.name + "': the file gives " + std::to_string(tensor.bytes.size()) +
                              " bytes, shape " + text_of(tensor.shape) + " of " + spec.datatype + " expects " +
                              std::to_string(expected));
    }
    sample.inputs.push_back(std::move(tensor));
  }
  return sample;
}

}  // namespace

Result<Sample> generate_sample(const ModelCard& card, const SampleRules& rules) {
  std::mt19937_64 random(rules.seed);
  Sample sample;
  for (const TensorSpec& spec : card.inputs) {
    if (!is_datatype(spec.datatype))
      return invalid_argument("input '" + spec.name + "' has datatype '" + spec.datatype +
                              "', which is no V2 datatype");
    auto shape = shape_of(card, spec, rules, nullptr);
    if (!shape.ok()) return shape.status();
    Tensor tensor{spec.name, spec.datatype, std::move(*shape), {}};
    auto count = element_count(tensor);
    if (!count.ok()) return count.status();
    fill(tensor, *count, rules, random);
    sample.inputs.push_back(std::move(tensor));
  }
  return sample;
}

Result<std::vector<Sample>> samples_from_file(const ModelCard& card, const SampleRules& rules, std::string_view text) {
  auto file = parse_json(text);
  if (!file.ok()) return file.status();
  const Json* data = file->find("data");
  if (data == nullptr || data->items.empty())
    return invalid_argument("the input file has no \"data\" array with entries");
  std::vector<Sample> samples;
  for (const Json& item : data->items) {
    // A nested array is one sequence of requests; its steps are sent like any others.
    const std::vector<Json> single{item};
    for (const Json& entry : item.is(Json::Kind::array) ? item.items : single) {
      auto sample = sample_from_entry(card, rules, entry);
      if (!sample.ok()) return sample.status();
      samples.push_back(std::move(*sample));
    }
  }
  if (const Json* validation = file->find("validation_data")) {
    if (validation->items.size() != samples.size()) {
      return invalid_argument("the input file has " + std::to_string(samples.size()) + " entries in \"data\" and " +
                              std::to_string(validation->items.size()) + " in \"validation_data\"");
    }
    for (std::size_t i = 0; i < samples.size(); ++i) {
      const Json* given = validation->items[i].find(card.outputs[0].name);
      if (given == nullptr) continue;
      auto bytes = bytes_of_entry(card.outputs[0], *given);
      if (!bytes.ok()) return bytes.status();
      samples[i].expected = repeated(*bytes, card.batched() ? rules.batch : 1);
    }
  }
  return samples;
}

}  // namespace argosy::load
