#include <utility>
#include <vector>

#include "kserve/classification.h"
#include "kserve/decimal.h"
#include "kserve/json_infer.h"
#include "kserve/json_tensor.h"
#include "kserve/json_value.h"

namespace argosy::kserve {
namespace {

// In the JSON, behind it, or in the client's own memory.
enum class Form : std::uint8_t { json, binary, elsewhere };

Form form_of(const PlannedOutput& output, const OutputPlan& plan) {
  if (output.wanted == nullptr) return plan.binary_default ? Form::binary : Form::json;
  if (output.wanted->in_region) return Form::elsewhere;
  return output.wanted->binary ? Form::binary : Form::json;
}

Status write_output(JsonWriter& writer, const tensor::Tensor& tensor, Form form) {
  writer.raw("{\"name\":");
  writer.string(tensor.name);
  writer.raw(",\"datatype\":\"");
  writer.raw(tensor::to_string(tensor.dtype));
  writer.raw("\",\"shape\":[");
  for (std::size_t i = 0; i < tensor.shape.rank(); ++i) {
    if (i > 0) writer.put(',');
    writer.integer(tensor.shape[i]);
  }
  if (form == Form::elsewhere) {
    writer.raw("]}");
    return {};
  }
  if (form == Form::binary) {
    writer.raw("],\"parameters\":{\"binary_data_size\":");
    writer.integer(tensor.data.size());
    writer.raw("}}");
    return {};
  }
  writer.raw("],\"data\":[");
  if (auto status = write_json_elements(writer, tensor); !status.ok()) return status;
  writer.raw("]}");
  return {};
}

void write_parameters(JsonWriter& writer, const infer::Parameters& parameters) {
  writer.raw(",\"parameters\":{");
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (i > 0) writer.put(',');
    writer.string(parameters[i].name);
    writer.put(':');
    write_json_value(writer, parameters[i]);
  }
  writer.put('}');
}

}  // namespace

void write_json_value(JsonWriter& writer, const infer::Parameter& parameter) {
  if (const bool* flag = std::get_if<bool>(&parameter.value)) {
    writer.raw(*flag ? "true" : "false");
  } else if (const auto* integer = std::get_if<std::int64_t>(&parameter.value)) {
    writer.integer(*integer);
  } else if (const auto* number = std::get_if<double>(&parameter.value)) {
    writer.wrote(write_double(writer.room(kLongestDouble), *number));
  } else {
    writer.string(std::get<std::string>(parameter.value));
  }
}

Result<HttpAnswer> encode_http_infer(const infer::Response& response, const OutputPlan& plan,
                                     const model::ModelSpec& spec, std::string_view id, BytesPool& pool) {
  auto planned = plan_outputs(response, plan, spec);
  if (!planned.ok()) return planned.status();
  std::vector<tensor::Tensor> classified;
  classified.reserve(planned->size());  // pointers into it must stay

  JsonWriter writer(pool);
  writer.put('{');
  if (!id.empty()) {
    writer.raw("\"id\":");
    writer.string(id);
    writer.put(',');
  }
  writer.raw("\"model_name\":");
  writer.string(spec.name);
  writer.raw(",\"model_version\":\"");
  writer.integer(spec.version);
  writer.put('"');
  if (!response.parameters.empty()) write_parameters(writer, response.parameters);
  writer.raw(",\"outputs\":[");
  bool first = true;
  std::size_t binary_bytes = 0;
  for (PlannedOutput& output : *planned) {
    if (output.wanted != nullptr && output.wanted->classification > 0) {
      auto best = classify(*output.tensor, output.wanted->classification, output.spec, spec.batches());
      if (!best.ok()) return best.status();
      classified.push_back(*std::move(best));
      output.tensor = &classified.back();
    }
    if (!first) writer.put(',');
    first = false;
    const Form form = form_of(output, plan);
    if (form == Form::binary) binary_bytes += output.tensor->data.size();
    if (auto status = write_output(writer, *output.tensor, form); !status.ok()) return status;
  }
  writer.raw("]}");

  HttpAnswer answer;
  answer.body = std::move(writer).finish();
  answer.content_type = binary_bytes > 0 ? "application/octet-stream" : "application/json";
  if (binary_bytes > 0) {
    answer.header_length = answer.body.size;
    for (const PlannedOutput& output : *planned) {
      if (form_of(output, plan) == Form::binary) answer.body.add(output.tensor->data.bytes());
    }
  }
  return answer;
}

std::string encode_error(std::string_view message) {
  JsonWriter writer(default_pool());
  writer.raw("{\"error\":");
  writer.string(message);
  writer.put('}');
  return std::move(writer).finish().joined();
}

}  // namespace argosy::kserve
