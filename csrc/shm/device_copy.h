#pragma once

// DeviceCopy: a copy between host memory and a GPU that is done when the call returns.
//
// Host bytes go through a small pinned block, because a GPU's copy engine needs pinned
// memory and clients' memory is not; what is pinned already goes straight. For requests
// that bring memory of a place where their model does not run, and for outputs: those of a
// model on a GPU come to pinned memory first, like everybody's in their batch.
//
// Thread: one, which it blocks.

#include <cstddef>
#include <map>
#include <memory>
#include <utility>

#include "base/status.h"
#include "device/device.h"
#include "device/memory.h"

namespace argosy::shm {

class DeviceCopy {
 public:
  static Result<std::unique_ptr<DeviceCopy>> make(device::DevicePtr device);
  ~DeviceCopy();
  DeviceCopy(const DeviceCopy&) = delete;
  DeviceCopy& operator=(const DeviceCopy&) = delete;

  Status to_host(std::byte* to, const std::byte* from, std::size_t bytes);
  Status to_device(std::byte* to, const device::Memory& from);
  Status on_device(std::byte* to, const std::byte* from, std::size_t bytes);

 private:
  static constexpr std::size_t kBlock = std::size_t{4} << 20;

  DeviceCopy(device::DevicePtr device, std::unique_ptr<device::Stream> stream, device::EventPtr done, std::byte* block)
      : device_(std::move(device)), stream_(std::move(stream)), done_(std::move(done)), block_(block) {}
  Status run(std::byte* to, const std::byte* from, std::size_t bytes, device::Direction direction);

  const device::DevicePtr device_;
  const std::unique_ptr<device::Stream> stream_;
  const device::EventPtr done_;
  std::byte* const block_;  // pinned
};

// One for each device, made at the first copy that needs it.
class DeviceCopies {
 public:
  // `device` is the GPU of whichever side is on one; null where neither is.
  Status copy(std::byte* to, device::Place to_place, const device::Memory& from, const device::DevicePtr& device);

 private:
  std::map<int, std::unique_ptr<DeviceCopy>> by_ordinal_;
};

}  // namespace argosy::shm
