#pragma once

// Region: memory that a client shares with the server: a POSIX shared memory object,
// or an allocation of another process on a GPU.
//
// It stays mapped for as long as anybody holds it. The client can write to it at any
// time, also while a request reads it, so nothing that was checked in it may be
// believed a second time: whoever has to believe copies first.
//
// A client that truncates its object cannot end the server: the pages that are gone
// read as zeros (shm/torn_pages.h), and whole() says so.
//
// Thread: immutable after creation but for the bytes; shared freely.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "device/device.h"
#include "device/memory.h"
#include "shm/torn_pages.h"

namespace argosy::shm {

// A name as messages show it.
std::string quoted(std::string_view name);

enum class Kind : std::uint8_t { system, cuda };

// What a status call tells of a region.
struct RegionStatus {
  std::string name;
  Kind kind = Kind::system;
  std::string key;             // system
  std::uint64_t offset = 0;    // system: into the object
  std::int64_t device_id = 0;  // cuda
  std::uint64_t byte_size = 0;
  friend bool operator==(const RegionStatus&, const RegionStatus&) = default;
};

class Region {
 public:
  static Result<std::shared_ptr<Region>> open_system(const std::string& name, const std::string& key,
                                                     std::uint64_t offset, std::uint64_t byte_size);
  // `device` is the one that `status.device_id` names.
  static Result<std::shared_ptr<Region>> open_cuda(const std::string& name, std::span<const std::byte> handle,
                                                   device::DevicePtr device, std::uint64_t byte_size);
  ~Region();
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

  const RegionStatus& status() const { return status_; }
  std::byte* data() const { return data_; }
  std::size_t size() const { return static_cast<std::size_t>(status_.byte_size); }
  device::Place place() const { return device_ ? device_->place() : device::Place{}; }
  const device::DevicePtr& device() const { return device_; }  // null: host memory

  // Whether the bytes up to `end` are still the client's; costs a system call.
  Status whole(std::size_t end) const;
  // Whether pages have been lost under a touch; costs a load.
  Status untorn() const;

 private:
  Region(RegionStatus status, std::byte* data, int descriptor, device::DevicePtr device);

  const RegionStatus status_;
  std::byte* const data_;
  const int descriptor_;  // -1: a GPU's
  const device::DevicePtr device_;
  std::optional<TornPages> pages_;
};

// A part of a region, and a hold on all of it.
struct Slice {
  std::shared_ptr<const Region> region;
  std::byte* data = nullptr;
  std::size_t size = 0;

  device::Memory memory() const { return {region, data, size, region->place()}; }
};

}  // namespace argosy::shm
