#pragma once

// CudaDevice: one GPU through the CUDA runtime, linked statically: the driver is looked
// for at run time, and a machine without one simply has no device.
//
// Thread: any.

#include "device/device.h"

namespace argosy::device {

class CudaDevice final : public Device {
 public:
  static Result<DevicePtr> make(int ordinal);

  const Properties& properties() const override { return properties_; }
  Status make_current() override;
  Result<MemoryInfo> memory() override;
  Result<bool> reaches(const Device& peer) override;
  Result<std::byte*> allocate(MemoryKind kind, std::size_t bytes) override;
  void release(MemoryKind kind, std::byte* block) override;
  Result<IpcHandle> export_ipc(std::byte* block) override;
  Result<IpcMemory> open_ipc(const IpcHandle& handle) override;
  void close_ipc(std::byte* data) override;
  Result<std::unique_ptr<Stream>> make_stream() override;
  Result<EventPtr> make_event() override;

 private:
  explicit CudaDevice(Properties properties) : properties_(std::move(properties)) {}
  std::string named(const std::string& call) const;
  const Properties properties_;
};

}  // namespace argosy::device
