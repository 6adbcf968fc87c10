#include "engine/loader.h"

#include <algorithm>
#include <exception>

namespace argosy::engine {
namespace {

const device::OpenDevice* find(const device::OpenDevices& open, int ordinal) {
  const auto found = std::find_if(open.devices.begin(), open.devices.end(), [&](const device::OpenDevice& one) {
    return one.device->properties().ordinal == ordinal;
  });
  return found == open.devices.end() ? nullptr : &*found;
}

std::string why_no_gpu(const device::OpenDevices& open) {
  if (!open.left_alone.empty()) return "uses none of its GPUs: " + open.left_alone.front();
  return device::built_with_cuda() ? "found no GPU" : "was built without CUDA";
}

std::string ordinals(const device::OpenDevices& open) {
  std::string list;
  for (const auto& one : open.devices) {
    list += (list.empty() ? "" : ", ") + std::to_string(one.device->properties().ordinal);
  }
  return list;
}

std::vector<Granted> granted(std::vector<backend::InstanceSlot> slots, const device::OpenDevices& open) {
  std::vector<Granted> all;
  for (auto& slot : slots) {
    Granted one{std::move(slot), std::nullopt};
    if (one.slot.kind == model::InstanceKind::gpu) {
      const device::OpenDevice& device = *find(open, one.slot.device);
      one.device = assemble::DeviceResources{device.device, open.batches, device.memory};
    }
    all.push_back(std::move(one));
  }
  return all;
}

}  // namespace

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
      for (const auto& open : resources.devices.devices) gpus.push_back(open.device->properties().ordinal);
    }
    if (resources.devices.devices.empty()) {
      return unsupported("instance group '" + name + "' of model '" + spec.name +
                         "' has kind KIND_GPU, and this server " + why_no_gpu(resources.devices));
    }
    for (const int gpu : gpus) {
      if (find(resources.devices, gpu) == nullptr) {
        return unsupported("instance group '" + name + "' of model '" + spec.name + "' asks for GPU " +
                           std::to_string(gpu) + ", and this server has " + ordinals(resources.devices));
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
  for (const auto& slot : *slots) {
    if (slot.kind != model::InstanceKind::gpu) continue;
    lane->accounting().place(slot.index, find(resources_.devices, slot.device)->device->properties().uuid);
  }
  auto model = std::make_unique<Model>(lane, std::move(*backend), std::move(loaded));
  Status status = model->start(granted(*std::move(slots), resources_.devices), pool_);
  if (!status.ok()) return status;
  expiry_->watch(lane);
  model->load_time = clock_.now() - begun;
  return model;
}

}  // namespace argosy::engine
