#include <utility>
#include <vector>

#include "kserve/classification.h"
#include "kserve/proto_infer.h"
#include "kserve/wire.h"

namespace argosy::kserve {
namespace {

// Below this a slice of its own costs more (a reference count, an entry for writev)
// than copying the bytes next to their neighbours.
constexpr std::size_t kInlineBytes = 512;

void write_parameter(std::string& to, std::uint32_t field, const infer::Parameter& parameter) {
  std::string value;
  WireWriter writer(value);
  if (const bool* flag = std::get_if<bool>(&parameter.value)) {
    writer.varint(1, *flag ? 1 : 0);
  } else if (const auto* integer = std::get_if<std::int64_t>(&parameter.value)) {
    writer.varint(2, static_cast<std::uint64_t>(*integer));
  } else if (const auto* number = std::get_if<double>(&parameter.value)) {
    writer.fixed64(4, *number);
  } else {
    writer.bytes(3, std::get<std::string>(parameter.value));
  }
  std::string entry;
  WireWriter pair(entry);
  pair.bytes(1, parameter.name);
  pair.bytes(2, value);
  WireWriter(to).bytes(field, entry);
}

void write_names(std::string& to, std::string_view model, std::string_view version, std::string_view id) {
  WireWriter writer(to);
  if (!model.empty()) writer.bytes(1, model);
  if (!version.empty()) writer.bytes(2, version);
  if (!id.empty()) writer.bytes(3, id);
}

void write_output(std::string& to, const tensor::Tensor& tensor) {
  const std::string_view dtype = tensor::to_string(tensor.dtype);
  std::size_t shape_size = 0;
  for (const std::int64_t dim : tensor.shape) shape_size += varint_size(static_cast<std::uint64_t>(dim));
  const std::size_t size = 1 + varint_size(tensor.name.size()) + tensor.name.size() + 2 + dtype.size() +
                           (shape_size == 0 ? 0 : 1 + varint_size(shape_size) + shape_size);
  WireWriter writer(to);
  writer.length(5, size);
  writer.bytes(1, tensor.name);
  writer.bytes(2, dtype);
  if (shape_size == 0) return;
  writer.length(3, shape_size);
  for (const std::int64_t dim : tensor.shape) writer.raw_varint(static_cast<std::uint64_t>(dim));
}

// A message under construction: text, and slices between stretches of text.
struct Parts {
  std::string text;
  std::vector<Bytes> pieces;  // everything before `text`
  std::size_t size = 0;       // of pieces

  void flush() {
    if (text.empty()) return;
    size += text.size();
    pieces.push_back(Bytes::take(std::move(text)));
    text.clear();
  }
  void slice(const device::Memory& data) {
    if (data.size() <= kInlineBytes) {
      if (!data.empty()) text.append(reinterpret_cast<const char*>(data.data()), data.size());
      return;
    }
    flush();
    size += data.size();
    pieces.push_back(data.bytes());
  }
};

Result<Gather> write_response(const infer::Response& response, const OutputPlan& plan, const model::ModelSpec& spec,
                              std::string_view id, const bool* final_response) {
  auto planned = plan_outputs(response, plan, spec);
  if (!planned.ok()) return planned.status();
  std::vector<tensor::Tensor> classified;
  classified.reserve(planned->size());  // pointers into it must stay
  for (PlannedOutput& output : *planned) {
    if (output.wanted == nullptr || output.wanted->classification == 0) continue;
    auto best = classify(*output.tensor, output.wanted->classification, output.spec, spec.batches());
    if (!best.ok()) return best.status();
    classified.push_back(*std::move(best));
    output.tensor = &classified.back();
  }

  Parts parts;
  parts.text.reserve(256);
  write_names(parts.text, spec.name, std::to_string(spec.version), id);
  for (const infer::Parameter& parameter : response.parameters) write_parameter(parts.text, 4, parameter);
  if (final_response != nullptr) write_parameter(parts.text, 4, {"triton_final_response", *final_response});
  for (const PlannedOutput& output : *planned) write_output(parts.text, *output.tensor);
  for (const PlannedOutput& output : *planned) {
    WireWriter(parts.text).length(6, output.tensor->data.size());
    parts.slice(output.tensor->data);
  }
  parts.flush();

  Gather out;
  if (final_response != nullptr) {
    std::string front;
    WireWriter(front).length(2, parts.size);
    out.add(Bytes::take(std::move(front)));
  }
  for (Bytes& piece : parts.pieces) out.add(std::move(piece));
  return out;
}

Gather stream_message(std::string_view error, std::string_view response) {
  std::string text;
  WireWriter writer(text);
  if (!error.empty()) writer.bytes(1, error);
  writer.bytes(2, response);
  Gather out;
  out.add(Bytes::take(std::move(text)));
  return out;
}

}  // namespace

Result<Gather> encode_model_infer(const infer::Response& response, const OutputPlan& plan, const model::ModelSpec& spec,
                                  std::string_view id) {
  return write_response(response, plan, spec, id, nullptr);
}

Result<Gather> encode_stream_infer(const infer::Response& response, const OutputPlan& plan,
                                   const model::ModelSpec& spec, std::string_view id, bool final_response) {
  return write_response(response, plan, spec, id, &final_response);
}

Gather encode_stream_final(std::string_view model_name, std::string_view model_version, std::string_view id) {
  std::string response;
  write_names(response, model_name, model_version, id);
  write_parameter(response, 4, {"triton_final_response", true});
  return stream_message({}, response);
}

Gather encode_stream_refusal(std::string_view message, std::string_view id) {
  std::string response;
  write_names(response, {}, {}, id);
  return stream_message(message, response);
}

Gather encode_stream_failure(std::string_view message, std::string_view model_name, std::string_view model_version,
                             std::string_view id) {
  std::string response;
  write_names(response, model_name, model_version, id);
  write_parameter(response, 4, {"triton_final_response", true});
  return stream_message(message, response);
}

}  // namespace argosy::kserve
