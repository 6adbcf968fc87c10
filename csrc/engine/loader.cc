#include "engine/loader.h"

#include <algorithm>
#include <exception>

namespace argosy::engine {

Result<std::vector<backend::InstanceSlot>> slots_of(const model::ModelSpec& spec, const Resources& resources) {
  std::vector<backend::InstanceSlot> slots;
  const auto add = [&](const std::string& group, std::uint32_t n, model::InstanceKind kind, int device) {
    slots.push_back({.name = group + "_" + std::to_string(n), .kind = kind, .device = device});
  };
  for (std::size_t g = 0; g < spec.instances.size(); ++g) {
    const model::InstanceGroup& group = spec.instances[g];
    const std::string name = group.name.empty() ? spec.name + "_" + std::to_string(g) : group.name;
    if (group.kind != model::InstanceKind::gpu) {
      for (std::uint32_t n = 0; n < group.count; ++n) add(name, n, group.kind, 0);
      continue;
    }
    std::vector<int> gpus = group.gpus;
    if (gpus.empty()) {
      for (std::uint32_t gpu = 0; gpu < resources.gpus; ++gpu) gpus.push_back(static_cast<int>(gpu));
    }
    if (gpus.empty()) {
      return unsupported("instance group '" + name + "' of model '" + spec.name +
                         "' has kind KIND_GPU, and this server has no GPU");
    }
    for (const int gpu : gpus) {
      if (gpu < 0 || static_cast<std::uint32_t>(gpu) >= resources.gpus) {
        return unsupported("instance group '" + name + "' of model '" + spec.name + "' asks for GPU " +
                           std::to_string(gpu) + ", and this server has " + std::to_string(resources.gpus));
      }
      for (std::uint32_t n = 0; n < group.count; ++n) add(name, n, group.kind, gpu);
    }
  }
  if (slots.empty()) add(spec.name, 0, model::InstanceKind::cpu, 0);

  const auto count = static_cast<std::uint32_t>(slots.size());
  for (std::uint32_t i = 0; i < count; ++i) {
    slots[i].index = i;
    slots[i].instances = count;
    const std::uint32_t share = resources.cpu_threads / count + (i < resources.cpu_threads % count ? 1 : 0);
    slots[i].cpu_threads = std::max(1u, share);
  }
  return slots;
}

Result<std::unique_ptr<Model>> Loader::load(model::ModelSpec from) {
  const TimePoint begun = clock_.now();
  const auto spec = std::make_shared<const model::ModelSpec>(std::move(from));
  auto backend = backends_->find(spec->backend);
  if (!backend.ok()) return backend.status();
  auto slots = slots_of(*spec, resources_);
  if (!slots.ok()) return slots.status();

  std::unique_ptr<backend::LoadedModel> loaded;
  try {
    auto result = (*backend)->load(spec, slots->front());
    if (!result.ok()) return result.status();
    loaded = std::move(*result);
  } catch (const std::exception& error) {
    return internal_error("backend '" + spec->backend + "': " + error.what());
  }

  auto lane = std::make_shared<Lane>(spec, slots->size(), clock_, queued_bytes_, expiry_);
  auto model = std::make_unique<Model>(lane, std::move(*backend), std::move(loaded));
  Status status = model->start(std::move(*slots), pool_);
  if (!status.ok()) return status;
  expiry_->watch(lane);
  model->load_time = clock_.now() - begun;
  return model;
}

}  // namespace argosy::engine
