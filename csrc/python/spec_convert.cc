#include "python/spec_convert.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "python/status_caster.h"
#include "python/tensor_convert.h"

namespace argosy::python {
namespace py = pybind11;

namespace {

template <class T>
T field(const py::dict& from, const char* name) {
  if (!from.contains(name)) raise(invalid_argument(std::string("lowered model: field '") + name + "' is missing"));
  try {
    return from[name].cast<T>();
  } catch (const py::cast_error&) {
    raise(invalid_argument(std::string("lowered model: field '") + name + "' cannot be " +
                           py::repr(from[name]).cast<std::string>()));
  }
}

tensor::DType dtype_field(const py::dict& from) {
  const auto name = field<std::string>(from, "dtype");
  const auto dtype = tensor::parse_dtype(name);
  if (!dtype) raise(invalid_argument("lowered model: unknown dtype '" + name + "'"));
  return *dtype;
}

model::TensorSpec tensor_from(const py::dict& from) {
  model::TensorSpec out;
  out.name = field<std::string>(from, "name");
  out.dtype = dtype_field(from);
  out.dims = to_shape(from["dims"]);
  if (from.contains("reshape") && !from["reshape"].is_none()) out.reshape = to_shape(from["reshape"]);
  out.optional = field<bool>(from, "optional");
  out.ragged = field<bool>(from, "ragged");
  out.labels = field<std::vector<std::string>>(from, "labels");
  return out;
}

py::dict tensor_to(const model::TensorSpec& spec) {
  py::dict out;
  out["name"] = spec.name;
  out["dtype"] = std::string(tensor::to_string(spec.dtype));
  out["dims"] = py::list(to_tuple(spec.dims));
  out["reshape"] = spec.reshape ? py::object(py::list(to_tuple(*spec.reshape))) : py::none();
  out["optional"] = spec.optional;
  out["ragged"] = spec.ragged;
  out["labels"] = spec.labels;
  return out;
}

constexpr std::array<std::string_view, 6> kBatchInputKinds{
    "element_count", "accumulated_element_count", "accumulated_element_count_with_zero", "max_element_count_as_shape",
    "item_shape",    "item_shape_flatten"};  // as model::BatchInput::Kind counts them

// The input that a batch tensor is about.
std::size_t source_of(const py::dict& from, const model::ModelSpec& spec) {
  const auto name = field<std::string>(from, "source");
  const auto found = std::ranges::find(spec.inputs, name, &model::TensorSpec::name);
  if (found == spec.inputs.end() || found->optional) {
    raise(invalid_argument("lowered model: source '" + name + "' of a batch tensor is no input that is always there"));
  }
  return static_cast<std::size_t>(found - spec.inputs.begin());
}

model::BatchInput batch_input_from(const py::dict& from, const model::ModelSpec& spec) {
  const auto kind = field<std::string>(from, "kind");
  const auto found = std::ranges::find(kBatchInputKinds, kind);
  if (found == kBatchInputKinds.end()) raise(invalid_argument("lowered model: batch input kind '" + kind + "'"));
  return {field<std::string>(from, "name"), dtype_field(from),
          static_cast<model::BatchInput::Kind>(found - kBatchInputKinds.begin()), source_of(from, spec)};
}

void set_batch_output(const py::dict& from, model::ModelSpec& spec) {
  const auto name = field<std::string>(from, "name");
  const auto found = std::ranges::find(spec.outputs, name, &model::TensorSpec::name);
  if (found == spec.outputs.end()) raise(invalid_argument("lowered model: batch output '" + name + "' is no output"));
  found->shaped_like = source_of(from, spec);
}

// batch_inputs and batch_outputs, as Python backends read them.
void batch_tensors_to(py::dict& out, const model::ModelSpec& spec) {
  py::list inputs, outputs;
  for (const auto& input : spec.batch_inputs) {
    py::dict item;
    item["name"] = input.name;
    item["dtype"] = std::string(tensor::to_string(input.dtype));
    item["kind"] = std::string(kBatchInputKinds[static_cast<std::size_t>(input.kind)]);
    item["source"] = spec.inputs[input.source].name;
    inputs.append(item);
  }
  for (const auto& output : spec.outputs) {
    if (!output.shaped_like) continue;
    py::dict item;
    item["name"] = output.name;
    item["source"] = spec.inputs[*output.shaped_like].name;
    outputs.append(item);
  }
  out["batch_inputs"] = inputs;
  out["batch_outputs"] = outputs;
}

model::QueuePolicy policy_from(const py::dict& from) {
  model::QueuePolicy out;
  const auto action = field<std::string>(from, "timeout_action");
  if (action != "reject" && action != "delay")
    raise(invalid_argument("lowered model: timeout_action '" + action + "'"));
  out.timeout_action = action == "delay" ? model::TimeoutAction::delay : model::TimeoutAction::reject;
  out.default_timeout = Micros(field<std::int64_t>(from, "default_timeout_us"));
  out.allow_timeout_override = field<bool>(from, "allow_timeout_override");
  out.max_queue_size = field<std::uint32_t>(from, "max_queue_size");
  return out;
}

model::Batching batching_from(const py::dict& from) {
  model::Batching out;
  out.preferred_rows = field<std::vector<std::uint32_t>>(from, "preferred_rows");
  out.max_queue_delay = Micros(field<std::int64_t>(from, "max_queue_delay_us"));
  out.preserve_ordering = field<bool>(from, "preserve_ordering");
  out.priority_levels = field<std::uint32_t>(from, "priority_levels");
  out.default_priority = field<std::uint32_t>(from, "default_priority");
  out.default_policy = policy_from(field<py::dict>(from, "default_policy"));
  for (const auto& [level, policy] : field<py::dict>(from, "level_policies")) {
    out.level_policies.emplace(level.cast<std::uint32_t>(), policy_from(policy.cast<py::dict>()));
  }
  return out;
}

model::InstanceKind kind_from(const std::string& kind) {
  if (kind == "cpu") return model::InstanceKind::cpu;
  if (kind == "gpu") return model::InstanceKind::gpu;
  if (kind == "model") return model::InstanceKind::model;
  raise(invalid_argument("lowered model: instance kind '" + kind + "'"));
}

const char* kind_name(model::InstanceKind kind) {
  switch (kind) {
    case model::InstanceKind::cpu: return "cpu";
    case model::InstanceKind::gpu: return "gpu";
    case model::InstanceKind::model: return "model";
  }
  return "cpu";
}

model::WarmupSample warmup_from(const py::dict& from) {
  model::WarmupSample out;
  out.name = field<std::string>(from, "name");
  out.batch_rows = field<std::uint32_t>(from, "batch_size");
  out.count = field<std::uint32_t>(from, "count");
  for (const auto& [name, value] : field<py::dict>(from, "inputs")) {
    const auto input = value.cast<py::dict>();
    const auto source = field<std::string>(input, "source");
    using Source = model::WarmupInput::Source;
    out.inputs.push_back({name.cast<std::string>(), dtype_field(input), to_shape(input["dims"]),
                          source == "zero"     ? Source::zero
                          : source == "random" ? Source::random
                                               : Source::file,
                          source == "file" ? field<std::string>(input, "file") : std::string()});
  }
  return out;
}

}  // namespace

model::ModelSpec spec_from_dict(const py::dict& lowered) {
  model::ModelSpec out;
  out.name = field<std::string>(lowered, "name");
  out.version = field<std::int64_t>(lowered, "version");
  out.platform = field<std::string>(lowered, "platform");
  out.backend = field<std::string>(lowered, "backend");
  out.path = field<std::string>(lowered, "path");
  out.artifact = field<std::string>(lowered, "artifact");
  out.max_batch_rows = field<std::uint32_t>(lowered, "max_batch_size");
  for (const auto item : field<py::list>(lowered, "inputs")) out.inputs.push_back(tensor_from(item.cast<py::dict>()));
  for (const auto item : field<py::list>(lowered, "outputs")) out.outputs.push_back(tensor_from(item.cast<py::dict>()));
  for (const auto item : field<py::list>(lowered, "batch_inputs"))
    out.batch_inputs.push_back(batch_input_from(item.cast<py::dict>(), out));
  for (const auto item : field<py::list>(lowered, "batch_outputs")) set_batch_output(item.cast<py::dict>(), out);
  out.decoupled = field<bool>(lowered, "decoupled");
  if (!field<py::object>(lowered, "batching").is_none())
    out.batching = batching_from(field<py::dict>(lowered, "batching"));
  for (const auto item : field<py::list>(lowered, "instances")) {
    const auto group = item.cast<py::dict>();
    out.instances.push_back({field<std::string>(group, "name"), kind_from(field<std::string>(group, "kind")),
                             field<std::uint32_t>(group, "count"), field<std::vector<int>>(group, "gpus")});
  }
  out.parameters = field<std::map<std::string, std::string>>(lowered, "parameters");
  out.metric_tags = field<std::map<std::string, std::string>>(lowered, "metric_tags");
  for (const auto item : field<py::list>(lowered, "warmup")) out.warmup.push_back(warmup_from(item.cast<py::dict>()));
  if (lowered.contains("config_json")) out.config_json = field<std::string>(lowered, "config_json");
  return out;
}

py::dict spec_to_dict(const model::ModelSpec& spec) {
  py::dict out;
  out["name"] = spec.name;
  out["version"] = spec.version;
  out["platform"] = spec.platform;
  out["backend"] = spec.backend;
  out["path"] = spec.path;
  out["artifact"] = spec.artifact;
  out["max_batch_size"] = spec.max_batch_rows;
  py::list inputs, outputs, instances;
  for (const auto& input : spec.inputs) inputs.append(tensor_to(input));
  for (const auto& output : spec.outputs) outputs.append(tensor_to(output));
  for (const auto& group : spec.instances) {
    py::dict item;
    item["name"] = group.name;
    item["kind"] = kind_name(group.kind);
    item["count"] = group.count;
    item["gpus"] = group.gpus;
    instances.append(item);
  }
  out["inputs"] = inputs;
  out["outputs"] = outputs;
  batch_tensors_to(out, spec);
  out["instances"] = instances;
  out["decoupled"] = spec.decoupled;
  out["parameters"] = spec.parameters;
  out["config_json"] = spec.config_json;
  return out;
}

py::dict slot_to_dict(const backend::InstanceSlot& slot) {
  py::dict out;
  out["name"] = slot.name;
  out["kind"] = kind_name(slot.kind);
  out["device"] = slot.device;
  out["stream"] = reinterpret_cast<std::uintptr_t>(slot.stream);
  out["index"] = slot.index;
  out["instances"] = slot.instances;
  out["cpu_threads"] = slot.cpu_threads;
  return out;
}

}  // namespace argosy::python
