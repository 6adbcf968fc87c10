#pragma once

// DeviceCopy: a copy between host memory and a GPU that is done when the call returns.
//
// Host bytes go through a small pinned block, because a GPU's copy engine needs pinned
// memory and clients' memory is not; what is pinned already goes straight. For requests
// that bring memory of a place where their model does not run, and for outputs: those of a
// model on a GPU come to pinned memory first, like everybody's in their batch.
//
// A copy that failed may have been enqueued all the same: it is waited for, and where the
// device does not tell whether it is over, both ends are kept and nothing else is copied
// until it does.
//
// Thread: one, which it blocks.

#include <cstddef>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "base/status.h"
#include "device/device.h"
#include "device/memory.h"

namespace argosy::shm {

// Where a copy goes.
struct Target {
  std::byte* data = nullptr;
  device::Place place;
  std::shared_ptr<const void> owner = nullptr;  // of memory on a GPU
};

class DeviceCopy {
 public:
  static Result<std::unique_ptr<DeviceCopy>> make(device::DevicePtr device);
  ~DeviceCopy();
  DeviceCopy(const DeviceCopy&) = delete;
  DeviceCopy& operator=(const DeviceCopy&) = delete;

  // `from` and `to` are kept for as long as a failed copy may still use them. One side is
  // on the device, and at least that has an owner.
  Status copy(const Target& to, const device::Memory& from);

 private:
  static constexpr std::size_t kBlock = std::size_t{4} << 20;

  DeviceCopy(device::DevicePtr device, std::unique_ptr<device::Stream> stream, device::EventPtr done, std::byte* block)
      : device_(std::move(device)), done_(std::move(done)), block_(block), stream_(std::move(stream)) {}
  Status through_block(const Target& to, const device::Memory& from);
  Status run(std::byte* to, const std::byte* from, std::size_t bytes, device::Direction direction);
  Status end_unsettled();

  const device::DevicePtr device_;
  const device::EventPtr done_;
  std::byte* const block_;                                // pinned
  bool unsettled_ = false;                                // a copy may be under way
  std::vector<std::shared_ptr<const void>> may_be_used_;  // by that copy
  std::unique_ptr<device::Stream> stream_;
};

// One for each device, made at the first copy that needs it.
class DeviceCopies {
 public:
  // `device` is the GPU of whichever side is on one; null where neither is.
  Status copy(const Target& to, const device::Memory& from, const device::DevicePtr& device);

 private:
  std::map<int, std::unique_ptr<DeviceCopy>> by_ordinal_;
};

}  // namespace argosy::shm
