#include "shm/regions.h"

#include <sys/resource.h>

#include <algorithm>
#include <utility>

namespace argosy::shm {
namespace {

std::size_t half_of_the_files() {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == RLIM_INFINITY) return 1u << 16;
  return std::max<std::size_t>(1, static_cast<std::size_t>(files.rlim_cur) / 2);
}

const char* words_for(Kind kind) { return kind == Kind::system ? "system" : "CUDA"; }

}  // namespace

Regions::Regions(std::vector<device::DevicePtr> devices, std::size_t most)
    : devices_(std::move(devices)), most_(most != 0 ? most : half_of_the_files()) {}

Status Regions::register_system(const std::string& name, const std::string& key, std::uint64_t offset,
                                std::uint64_t byte_size) {
  if (name.empty()) return invalid_argument("'region name' is necessary to register system shared memory region");
  if (auto status = check_free(name); !status.ok()) return status;
  return add(name, Region::open_system(name, key, offset, byte_size));
}

Status Regions::register_cuda(const std::string& name, std::span<const std::byte> handle, std::int64_t device_id,
                              std::uint64_t byte_size) {
  if (name.empty()) return invalid_argument("'region name' is necessary to register cuda shared memory region");
  const std::string failed = "failed to register CUDA shared memory region: " + quoted(name) + ", ";
  if (devices_.empty()) return invalid_argument(failed + "GPUs not supported");
  const auto device = std::find_if(devices_.begin(), devices_.end(),
                                   [&](const auto& one) { return one->properties().ordinal == device_id; });
  if (device == devices_.end()) {
    return invalid_argument(failed + "there is no GPU " + std::to_string(device_id) + " that this server uses");
  }
  if (auto status = check_free(name); !status.ok()) return status;
  return add(name, Region::open_cuda(name, handle, *device, byte_size));
}

Status Regions::check_free(const std::string& name) const {
  auto table = table_.lock();
  const auto found = table->find(name);
  if (found == table->end() || !found->second.registered) return {};
  return already_exists("shared memory region " + quoted(name) + " already in manager");
}

Status Regions::add(const std::string& name, const Result<std::shared_ptr<Region>>& region) {
  if (!region.ok()) return region.status();
  auto table = table_.lock();
  std::erase_if(*table, [](const auto& item) { return item.second.seen.expired(); });
  const auto found = table->find(name);
  // Another call may have been quicker; what was opened here is closed by the caller.
  if (found != table->end() && found->second.registered) {
    return already_exists("shared memory region " + quoted(name) + " already in manager");
  }
  if (found == table->end() && table->size() >= most_) {
    return resource_exhausted("shared memory region " + quoted(name) + ": " + std::to_string(table->size()) +
                              " regions are registered, as many as this server can hold; unregister some");
  }
  table->insert_or_assign(name, Entry{*region, *region});
  return {};
}

void Regions::unregister(Kind kind, std::string_view name) {
  std::shared_ptr<Region> gone;  // perhaps unmapped here, behind the lock
  auto table = table_.lock();
  const auto found = table->find(name);
  if (found == table->end() || !found->second.registered || found->second.registered->status().kind != kind) return;
  gone = std::move(found->second.registered);
}

void Regions::unregister_all(Kind kind) {
  std::vector<std::shared_ptr<Region>> gone;
  auto table = table_.lock();
  for (auto& [name, entry] : *table) {
    if (entry.registered && entry.registered->status().kind == kind) gone.push_back(std::move(entry.registered));
  }
}

std::vector<RegionStatus> Regions::list(Kind kind) const {
  std::vector<std::shared_ptr<Region>> seen;  // the last holder may be this list
  {
    auto table = table_.lock();
    for (const auto& [name, entry] : *table) {
      if (auto region = entry.seen.lock()) seen.push_back(std::move(region));
    }
  }
  std::vector<RegionStatus> out;
  for (const auto& region : seen) {
    if (region->status().kind == kind) out.push_back(region->status());
  }
  return out;
}

Result<RegionStatus> Regions::status(Kind kind, std::string_view name) const {
  const auto region = find(name);
  if (!region) {
    return not_found(std::string("Unable to find ") + (kind == Kind::system ? "system" : "cuda") +
                     " shared memory region: " + quoted(name));
  }
  if (region->status().kind != kind) {
    return not_found("The region named " + quoted(name) + " is registered as " + words_for(region->status().kind) +
                     " shared memory, not " + words_for(kind) + " shared memory");
  }
  return region->status();
}

std::shared_ptr<Region> Regions::find(std::string_view name) const {
  auto table = table_.lock();
  const auto found = table->find(name);
  return found == table->end() ? nullptr : found->second.seen.lock();
}

Result<Slice> Regions::slice(std::string_view name, std::uint64_t offset, std::uint64_t byte_size) const {
  const auto region = find(name);
  if (!region) return not_found("Unable to find shared memory region: " + quoted(name));
  if (offset >= region->size()) return invalid_argument("Invalid offset for shared memory region: " + quoted(name));
  if (byte_size > region->size() - offset) {
    return invalid_argument("Invalid offset + byte size for shared memory region: " + quoted(name));
  }
  const auto at = static_cast<std::size_t>(offset);
  const auto size = static_cast<std::size_t>(byte_size);
  if (auto status = region->whole(at + size); !status.ok()) return status;
  return Slice{region, region->data() + at, size};
}

}  // namespace argosy::shm
