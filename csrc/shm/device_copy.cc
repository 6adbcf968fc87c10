#include "shm/device_copy.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "device/pool.h"

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

DeviceCopy::~DeviceCopy() { device_->release(MemoryKind::pinned, block_); }

Status DeviceCopy::run(std::byte* to, const std::byte* from, std::size_t bytes, Direction direction) {
  if (auto status = stream_->copy(to, from, bytes, direction); !status.ok()) return status;
  if (auto status = stream_->record(*done_); !status.ok()) return status;
  return done_->wait();
}

Status DeviceCopy::to_host(std::byte* to, const std::byte* from, std::size_t bytes) {
  for (std::size_t at = 0; at < bytes; at += kBlock) {
    const std::size_t now = std::min(kBlock, bytes - at);
    if (auto status = run(block_, from + at, now, Direction::to_host); !status.ok()) return status;
    std::memcpy(to + at, block_, now);
  }
  return {};
}

Status DeviceCopy::to_device(std::byte* to, const device::Memory& from) {
  if (device::is_pinned(from)) return run(to, from.data(), from.size(), Direction::to_device);
  for (std::size_t at = 0; at < from.size(); at += kBlock) {
    const std::size_t now = std::min(kBlock, from.size() - at);
    std::memcpy(block_, from.data() + at, now);
    if (auto status = run(to + at, block_, now, Direction::to_device); !status.ok()) return status;
  }
  return {};
}

Status DeviceCopy::on_device(std::byte* to, const std::byte* from, std::size_t bytes) {
  return run(to, from, bytes, Direction::on_device);
}

Status DeviceCopies::copy(std::byte* to, device::Place to_place, const device::Memory& from,
                          const device::DevicePtr& device) {
  const bool to_host = to_place.kind != MemoryKind::device;
  if (from.empty()) return {};
  if (to_host && from.on_host()) {
    // The two may overlap: a model may answer with its own input.
    std::memmove(to, from.data(), from.size());
    return {};
  }
  if (!device || (!to_host && device->place() != to_place) || (!from.on_host() && device->place() != from.place())) {
    return unsupported("memory of GPU " + std::to_string((to_host ? from.place() : to_place).device) +
                       " cannot be copied: the other side is on another GPU, or this one is not in use");
  }
  auto& copier = by_ordinal_[device->properties().ordinal];
  if (!copier) {
    auto made = DeviceCopy::make(device);
    if (!made.ok()) return made.status();
    copier = *std::move(made);
  }
  if (to_host) return copier->to_host(to, from.data(), from.size());
  return from.on_host() ? copier->to_device(to, from) : copier->on_device(to, from.data(), from.size());
}

}  // namespace argosy::shm
