#include "load/model_card.h"

#include "load/json.h"
#include "load/proto_wire.h"

namespace argosy::load {
namespace {

std::vector<TensorSpec> tensors_from_json(const Json* list) {
  std::vector<TensorSpec> out;
  if (list == nullptr) return out;
  for (const Json& item : list->items) {
    TensorSpec& spec = out.emplace_back();
    if (const Json* name = item.find("name")) spec.name = name->text;
    if (const Json* datatype = item.find("datatype")) spec.datatype = datatype->text;
    if (const Json* shape = item.find("shape")) {
      for (const Json& dim : shape->items) spec.shape.push_back(dim.integer());
    }
  }
  return out;
}

TensorSpec tensor_from_proto(std::string_view message) {
  TensorSpec spec;
  ProtoReader tensor(message);
  while (tensor.next()) {
    if (tensor.field() == 1) spec.name = tensor.bytes();
    if (tensor.field() == 2) spec.datatype = tensor.bytes();
    if (tensor.field() != 3) continue;
    if (!tensor.is_bytes()) {
      spec.shape.push_back(static_cast<std::int64_t>(tensor.varint()));
      continue;
    }
    // Packed numbers have no tags: give each one a tag and they are a message.
    for (std::string_view packed = tensor.bytes(); !packed.empty();) {
      std::size_t size = 1;
      while (size < packed.size() && (packed[size - 1] & 0x80) != 0) ++size;
      const std::string tagged = std::string(1, '\x08').append(packed.substr(0, size));
      ProtoReader one(tagged);
      if (!one.next()) break;
      spec.shape.push_back(static_cast<std::int64_t>(one.varint()));
      packed.remove_prefix(size);
    }
  }
  return spec;
}

Result<ModelCard> checked(ModelCard card) {
  if (card.inputs.empty()) return invalid_argument("the metadata of model '" + card.name + "' lists no inputs");
  if (card.outputs.empty()) return invalid_argument("the metadata of model '" + card.name + "' lists no outputs");
  return card;
}

}  // namespace

bool ModelCard::batched() const {
  if (max_batch_size) return *max_batch_size > 0;
  return !inputs.empty() && !inputs[0].shape.empty() && inputs[0].shape[0] == -1;
}

Result<ModelCard> model_card_from_json(std::string_view metadata) {
  auto json = parse_json(metadata);
  if (!json.ok()) return json.status();
  ModelCard card;
  if (const Json* name = json->find("name")) card.name = name->text;
  card.inputs = tensors_from_json(json->find("inputs"));
  card.outputs = tensors_from_json(json->find("outputs"));
  return checked(std::move(card));
}

Result<ModelCard> model_card_from_proto(std::string_view metadata) {
  ModelCard card;
  ProtoReader message(metadata);
  while (message.next()) {
    if (message.field() == 1) card.name = message.bytes();
    if (message.field() == 4) card.inputs.push_back(tensor_from_proto(message.bytes()));
    if (message.field() == 5) card.outputs.push_back(tensor_from_proto(message.bytes()));
  }
  if (!message.ok()) return invalid_argument("the server's ModelMetadataResponse is not valid protobuf");
  return checked(std::move(card));
}

std::optional<std::int64_t> max_batch_size_from_json(std::string_view config) {
  auto json = parse_json(config);
  if (!json.ok()) return std::nullopt;
  const Json* value = json->find("max_batch_size");
  if (value == nullptr) return std::nullopt;
  return value->integer();
}

std::optional<std::int64_t> max_batch_size_from_proto(std::string_view config_response) {
  ProtoReader response(config_response);
  while (response.next()) {
    if (response.field() != 1) continue;
    // proto3 leaves a zero out, so a configuration without the field means 0.
    std::int64_t size = 0;
    ProtoReader config(response.bytes());
    while (config.next()) {
      if (config.field() == 4) size = static_cast<std::int64_t>(config.varint());
    }
    if (config.ok()) return size;
  }
  return std::nullopt;
}

}  // namespace argosy::load
