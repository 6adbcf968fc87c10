#pragma once

// Regions: the shared memory that clients have registered, by name.
//
// What is unregistered is gone when the last request that uses it is over; until then it
// can be seen and used. Its name is free at once: a client that has its answer must not
// have to ask when the server is done with it.
//
// Thread: any. Looking a region up takes one short lock; mapping and unmapping happen
// outside of it.

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/guarded.h"
#include "base/status.h"
#include "device/device.h"
#include "shm/region.h"

namespace argosy::shm {

class Regions {
 public:
  // `devices`: the GPUs on which clients may share memory. `most`: regions at a time; 0:
  // half of the files that this process may open, because each holds one.
  explicit Regions(std::vector<device::DevicePtr> devices = {}, std::size_t most = 0);

  Status register_system(const std::string& name, const std::string& key, std::uint64_t offset,
                         std::uint64_t byte_size);
  // `handle`: the 64 bytes of a cudaIpcMemHandle_t.
  Status register_cuda(const std::string& name, std::span<const std::byte> handle, std::int64_t device_id,
                       std::uint64_t byte_size);

  // A name that is unknown, or of the other kind, is nothing to do.
  void unregister(Kind kind, std::string_view name);
  void unregister_all(Kind kind);

  // All of the kind, by name.
  std::vector<RegionStatus> list(Kind kind) const;
  Result<RegionStatus> status(Kind kind, std::string_view name) const;

  // For use by a request: [offset, offset + byte_size) of the region.
  Result<Slice> slice(std::string_view name, std::uint64_t offset, std::uint64_t byte_size) const;

 private:
  struct Entry {
    std::shared_ptr<Region> registered;  // null: unregistered, and perhaps in use
    std::weak_ptr<Region> seen;
  };
  using Table = std::map<std::string, Entry, std::less<>>;

  Status add(const std::string& name, const Result<std::shared_ptr<Region>>& region);
  Status check_free(const std::string& name) const;
  std::shared_ptr<Region> find(std::string_view name) const;

  const std::vector<device::DevicePtr> devices_;
  const std::size_t most_;
  mutable Guarded<Table> table_;
};

}  // namespace argosy::shm
