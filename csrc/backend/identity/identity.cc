#include "backend/identity/identity.h"

#include <algorithm>
#include <charconv>
#include <string>
#include <thread>

namespace argosy::backend {
namespace {

class IdentityInstance final : public Instance {
 public:
  IdentityInstance(model::SpecPtr spec, std::chrono::milliseconds delay) : spec_(std::move(spec)), delay_(delay) {}

  bool any_thread() const override { return true; }

  Status execute(Batch& batch) override {
    if (delay_.count() > 0) wait(batch);
    batch.outputs.reserve(spec_->outputs.size());
    for (std::size_t i = 0; i < spec_->outputs.size(); ++i) {
      if (!batch.wanted.empty() && !batch.wanted[i]) continue;
      tensor::Tensor output = batch.inputs[i];
      if (output.name.empty()) continue;  // an optional input nobody sent
      output.name = spec_->outputs[i].name;
      batch.outputs.push_back(std::move(output));
    }
    return {};
  }

 private:
  // In slices, because a cancellation is only a flag to a running model.
  void wait(const Batch& batch) const {
    constexpr auto kSlice = std::chrono::milliseconds(2);
    const auto until = std::chrono::steady_clock::now() + delay_;
    for (;;) {
      const auto now = std::chrono::steady_clock::now();
      if (now >= until) return;
      const bool nobody_waits = std::all_of(batch.requests.begin(), batch.requests.end(),
                                            [](const auto& request) { return request->cancelled(); });
      if (nobody_waits) return;
      std::this_thread::sleep_for(std::min<std::chrono::steady_clock::duration>(until - now, kSlice));
    }
  }

  const model::SpecPtr spec_;
  const std::chrono::milliseconds delay_;
};

class IdentityModel final : public LoadedModel {
 public:
  IdentityModel(model::SpecPtr spec, std::uint64_t delay_ms, std::uint64_t multiplier)
      : spec_(std::move(spec)), delay_ms_(delay_ms), multiplier_(multiplier) {}

  Result<std::unique_ptr<Instance>> make_instance(const InstanceSlot& slot) override {
    const std::uint64_t times = multiplier_ == 0 ? 1 : multiplier_ * (slot.index + 1);
    return std::unique_ptr<Instance>(
        std::make_unique<IdentityInstance>(spec_, std::chrono::milliseconds(delay_ms_ * times)));
  }

 private:
  const model::SpecPtr spec_;
  const std::uint64_t delay_ms_, multiplier_;
};

Result<std::uint64_t> number_parameter(const model::ModelSpec& spec, const std::string& name) {
  const auto found = spec.parameters.find(name);
  if (found == spec.parameters.end()) return std::uint64_t{0};
  const std::string& text = found->second;
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > 1'000'000'000) {
    return invalid_argument("parameter '" + name + "' of model '" + spec.name + "': expected a whole number, got '" +
                            text + "'");
  }
  return value;
}

// A ragged input comes flat and is returned flat, so only its own shape says what is whose.
Status check_ragged(const model::ModelSpec& spec) {
  const std::string model = "backend 'identity': model '" + spec.name + "'";
  if (!spec.batch_inputs.empty()) {
    return unsupported(model + ": nothing reads batch input '" + spec.batch_inputs.front().name + "'; remove it");
  }
  for (std::size_t i = 0; i < spec.outputs.size(); ++i) {
    const model::TensorSpec& output = spec.outputs[i];
    if (!spec.inputs[i].ragged || output.shaped_like == i) continue;
    return invalid_argument(model + ": input '" + spec.inputs[i].name + "' is ragged, so output '" + output.name +
                            "' needs batch_output { target_name: \"" + output.name +
                            "\" kind: BATCH_SCATTER_WITH_INPUT_SHAPE source_input: \"" + spec.inputs[i].name + "\" }");
  }
  return {};
}

class IdentityBackend final : public Backend {
 public:
  Result<std::unique_ptr<LoadedModel>> load(const model::SpecPtr& spec, const InstanceSlot&) override {
    if (spec->outputs.size() > spec->inputs.size()) {
      return invalid_argument("backend 'identity': model '" + spec->name + "' has " +
                              std::to_string(spec->outputs.size()) + " outputs, but only " +
                              std::to_string(spec->inputs.size()) + " inputs");
    }
    for (std::size_t i = 0; i < spec->outputs.size(); ++i) {
      if (spec->outputs[i].dtype == spec->inputs[i].dtype) continue;
      return invalid_argument("backend 'identity': model '" + spec->name + "': output '" + spec->outputs[i].name +
                              "' is " + std::string(to_string(spec->outputs[i].dtype)) + ", but input '" +
                              spec->inputs[i].name + "' is " + std::string(to_string(spec->inputs[i].dtype)));
    }
    if (auto status = check_ragged(*spec); !status.ok()) return status;
    auto delay = number_parameter(*spec, "execute_delay_ms");
    if (!delay.ok()) return delay.status();
    auto multiplier = number_parameter(*spec, "instance_wise_delay_multiplier");
    if (!multiplier.ok()) return multiplier.status();
    return std::unique_ptr<LoadedModel>(std::make_unique<IdentityModel>(spec, *delay, *multiplier));
  }
};

}  // namespace

std::shared_ptr<Backend> make_identity_backend() { return std::make_shared<IdentityBackend>(); }

}  // namespace argosy::backend
