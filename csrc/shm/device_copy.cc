#include "shm/device_copy.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "device/pool.h"
#include "device/settle.h"

namespace argosy::shm {

using device::Direction;
using device::MemoryKind;

Result<std::unique_ptr<DeviceCopy>> DeviceCopy::make(device::DevicePtr device) {
  auto stream = device->make_stream();
  if (!stream.ok()) return stream.status();
  auto done = device->make_event();
  if (!done.ok()) return done.status();
  auto block = device->allocate(MemoryKind::pinned, kBlock);
  if (!block.ok()) return block.status();
  return std::unique_ptr<DeviceCopy>(new DeviceCopy(std::move(device), *std::move(stream), *std::move(done), *block));
}

DeviceCopy::~DeviceCopy() {
  (void)end_unsettled();
  stream_.reset();  // its end is the last that can be waited for
  device_->release(MemoryKind::pinned, block_);
}

Status DeviceCopy::end_unsettled() {
  if (!unsettled_) return {};
  if (auto status = device::settle(*stream_, *done_); !status.ok()) return status;
  unsettled_ = false;
  may_be_used_.clear();
  return {};
}

Status DeviceCopy::run(std::byte* to, const std::byte* from, std::size_t bytes, Direction direction) {
  unsettled_ = true;
  Status status = stream_->copy(to, from, bytes, direction);
  if (status.ok()) status = stream_->record(*done_);
  if (status.ok()) status = done_->wait();
  if (status.ok()) {
    unsettled_ = false;
  } else {
    (void)end_unsettled();
  }
  return status;
}

Status DeviceCopy::through_block(const Target& to, const device::Memory& from) {
  for (std::size_t at = 0; at < from.size(); at += kBlock) {
    const std::size_t now = std::min(kBlock, from.size() - at);
    if (from.on_host()) std::memcpy(block_, from.data() + at, now);
    auto status = from.on_host() ? run(to.data + at, block_, now, Direction::to_device)
                                 : run(block_, from.data() + at, now, Direction::to_host);
    if (!status.ok()) return status;
    if (!from.on_host()) std::memcpy(to.data + at, block_, now);
  }
  return {};
}

Status DeviceCopy::copy(const Target& to, const device::Memory& from) {
  if (auto status = end_unsettled(); !status.ok()) return status;
  const bool on_device = to.place.kind == MemoryKind::device && !from.on_host();
  Status status;
  if (on_device || device::is_pinned(from)) {
    status = run(to.data, from.data(), from.size(), on_device ? Direction::on_device : Direction::to_device);
  } else {
    status = through_block(to, from);
  }
  if (unsettled_) may_be_used_ = {to.owner, from.owner()};
  return status;
}

Status DeviceCopies::copy(const Target& to, const device::Memory& from, const device::DevicePtr& device) {
  const bool to_host = to.place.kind != MemoryKind::device;
  if (from.empty()) return {};
  if (to_host && from.on_host()) {
    // The two may overlap: a model may answer with its own input.
    std::memmove(to.data, from.data(), from.size());
    return {};
  }
  if (!device || (!to_host && device->place() != to.place) || (!from.on_host() && device->place() != from.place())) {
    return unsupported("memory of GPU " + std::to_string((to_host ? from.place() : to.place).device) +
                       " cannot be copied: the other side is on another GPU, or this one is not in use");
  }
  auto& copier = by_ordinal_[device->properties().ordinal];
  if (!copier) {
    auto made = DeviceCopy::make(device);
    if (!made.ok()) return made.status();
    copier = *std::move(made);
  }
  return copier->copy(to, from);
}

}  // namespace argosy::shm
