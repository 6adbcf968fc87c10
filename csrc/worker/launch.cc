#include "worker/launch.h"

#include <unistd.h>

#include <charconv>
#include <cmath>
#include <filesystem>

namespace argosy::worker {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kThreads[] = {"OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS",
                                         "NUMEXPR_NUM_THREADS", "ARGOSY_CPU_THREADS"};

fs::path model_directory(const model::ModelSpec& spec) { return fs::path(spec.path).parent_path(); }

const std::string* parameter(const model::ModelSpec& spec, const std::string& name) {
  const auto found = spec.parameters.find(name);
  return found == spec.parameters.end() || found->second.empty() ? nullptr : &found->second;
}

Status wrong(const model::ModelSpec& spec, const std::string& name, const std::string& problem) {
  return invalid_argument("model '" + spec.name + "', parameter '" + name + "': " + problem);
}

Result<std::string> interpreter(const model::ModelSpec& spec, const WorkerOptions& options) {
  const std::string* python = parameter(spec, "python");
  const std::string* environment = parameter(spec, "EXECUTION_ENV_PATH");
  if (python == nullptr && environment == nullptr) return options.python;
  const std::string name = python != nullptr ? "python" : "EXECUTION_ENV_PATH";
  std::string text = python != nullptr ? *python : *environment;
  constexpr std::string_view kModel = "$$TRITON_MODEL_DIRECTORY";
  if (const auto at = text.find(kModel); at != std::string::npos) {
    text.replace(at, kModel.size(), model_directory(spec).string());
  }
  fs::path path = text;
  if (path.is_relative()) path = model_directory(spec) / path;
  if (python == nullptr && !fs::is_directory(path)) {
    if (!fs::exists(path)) return wrong(spec, name, "'" + path.string() + "' does not exist");
    return unsupported("model '" + spec.name + "', parameter 'EXECUTION_ENV_PATH': '" + path.string() +
                       "' is an archive; unpack it and name the directory");
  }
  if (fs::is_directory(path)) path = path / "bin" / "python";
  if (access(path.c_str(), X_OK) != 0) {
    return wrong(spec, name, "there is no interpreter that can be run at '" + path.string() + "'");
  }
  return path.string();
}

bool names(const std::string& variable, std::string_view name) {
  return variable.size() > name.size() && variable.starts_with(name) && variable[name.size()] == '=';
}

}  // namespace

Result<Launch> launch_of(const model::ModelSpec& spec, const backend::InstanceSlot& slot,
                         const WorkerOptions& options) {
  auto python = interpreter(spec, options);
  if (!python.ok()) return python.status();
  // The package alone, not the directory it lies in: another interpreter has libraries
  // of its own, which ours must not come before.
  const std::string start =
      "import sys;sys.path[:]=[p for p in sys.path if p];"  // what lies in our directory is not the model's
      "import importlib.util as u;"
      "p,x=sys.argv[1:3];"
      "s=u.spec_from_file_location('argosy',p+'/__init__.py',submodule_search_locations=[p]+[x]*(x not in('',p)));"
      "m=u.module_from_spec(s);sys.modules['argosy']=m;s.loader.exec_module(m);"
      "from argosy.worker.main import main;"
      "main(int(sys.argv[3]))";
  Launch launch;
  launch.arguments = {*python, "-c", start, options.package, options.extensions, std::to_string(getpid()), slot.name};
  for (const std::string& variable : options.environment) {
    // What the user set on purpose stays.
    launch.environment.push_back(variable);
  }
  for (const std::string_view name : kThreads) {
    bool set = false;
    for (const auto& variable : options.environment) set |= names(variable, name);
    if (!set) launch.environment.push_back(std::string(name) + "=" + std::to_string(slot.cpu_threads));
  }
  launch.environment.emplace_back("PYTHONUNBUFFERED=1");
  return launch;
}

std::vector<std::pair<std::string, std::string>> initialize_of(const model::ModelSpec& spec,
                                                               const backend::InstanceSlot& slot) {
  const char* kind = slot.kind == model::InstanceKind::gpu   ? "GPU"
                     : slot.kind == model::InstanceKind::cpu ? "CPU"
                                                             : "MODEL";
  std::string outputs;
  for (const auto& output : spec.outputs) outputs += (outputs.empty() ? "" : "\n") + output.name;
  return {{"model_name", spec.name},
          {"model_version", std::to_string(spec.version)},
          {"model_config", spec.config_json},
          {"model_file", (fs::path(spec.path) / spec.artifact).string()},
          {"directory", model_directory(spec).string()},
          {"version_directory", spec.path},
          {"instance_name", slot.name},
          {"kind", kind},
          {"device", std::to_string(slot.device)},
          {"outputs", outputs},
          {"decoupled", spec.decoupled ? "1" : "0"},
          {"cpu_threads", std::to_string(slot.cpu_threads)}};
}

Result<Nanos> seconds_of(const model::ModelSpec& spec, const std::string& name, Nanos otherwise) {
  const std::string* text = parameter(spec, name);
  if (text == nullptr) return otherwise;
  double seconds = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), seconds);
  if (error != std::errc() || end != text->data() + text->size() || !(seconds > 0) || seconds > 1e8) {
    return wrong(spec, name, "expected a number of seconds, more than 0, got '" + *text + "'");
  }
  return std::chrono::duration_cast<Nanos>(std::chrono::duration<double>(seconds));
}

}  // namespace argosy::worker
