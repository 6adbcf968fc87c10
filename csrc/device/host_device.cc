#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "device/device.h"
#include "device/host_memory.h"

namespace argosy::device {
namespace {

constexpr std::size_t kAlignment = 256;
constexpr std::size_t kAddressable = std::size_t{1} << 47;

class HostEvent final : public Event {
 public:
  Result<bool> done() const override { return true; }
  Status wait() const override { return {}; }
};

class HostStream final : public Stream {
 public:
  Status copy(std::byte* to, const std::byte* from, std::size_t bytes, Direction) override {
    if (bytes > 0) std::memcpy(to, from, bytes);
    return {};
  }
  Status copy_and_wait(std::byte* to, const std::byte* from, std::size_t bytes, Direction direction) override {
    return copy(to, from, bytes, direction);
  }
  Status fill(std::byte* to, std::uint8_t value, std::size_t bytes) override {
    if (bytes > 0) std::memset(to, value, bytes);
    return {};
  }
  Status move(std::span<const Piece> pieces) override {
    move_on_host(pieces);
    return {};
  }
  Status record(Event&) override { return {}; }
  Status wait(const Event&) override { return {}; }
  void* native() const override { return nullptr; }
};

class HostDevice final : public Device {
 public:
  HostDevice() {
    const auto number = [](int name) {
      const long value = ::sysconf(name);
      return value > 0 ? static_cast<std::size_t>(value) : std::size_t{0};
    };
    properties_.name = "host";
    properties_.memory_bytes = number(_SC_PHYS_PAGES) * number(_SC_PAGESIZE);
    properties_.processors = static_cast<int>(number(_SC_NPROCESSORS_ONLN));
  }

  const Properties& properties() const override { return properties_; }
  Status make_current() override { return {}; }
  Result<MemoryInfo> memory() override {
    const long pages = ::sysconf(_SC_AVPHYS_PAGES);
    const long page = ::sysconf(_SC_PAGESIZE);
    return MemoryInfo{pages > 0 && page > 0 ? static_cast<std::size_t>(pages) * static_cast<std::size_t>(page) : 0,
                      properties_.memory_bytes};
  }
  Result<bool> reaches(const Device& peer) override { return &peer == this; }

  Result<std::byte*> allocate(MemoryKind kind, std::size_t bytes) override {
    if (kind == MemoryKind::device && bytes <= kAddressable) return memory_.allocate(bytes);
    void* block =
        bytes > kAddressable ? nullptr : std::aligned_alloc(kAlignment, (bytes + kAlignment) / kAlignment * kAlignment);
    if (block == nullptr) return resource_exhausted("the host has no block of " + std::to_string(bytes) + " bytes");
    return static_cast<std::byte*>(block);
  }
  void release(MemoryKind kind, std::byte* block) override {
    if (kind == MemoryKind::device) return memory_.release(block);
    std::free(block);
  }
  Result<IpcHandle> export_ipc(std::byte* block) override { return memory_.export_ipc(block); }
  Result<IpcMemory> open_ipc(const IpcHandle& handle) override { return memory_.open_ipc(handle); }
  void close_ipc(std::byte* data) override { memory_.close_ipc(data); }

  Result<std::unique_ptr<Stream>> make_stream() override { return std::unique_ptr<Stream>(new HostStream); }
  Result<EventPtr> make_event() override { return EventPtr(std::make_shared<HostEvent>()); }

 private:
  Properties properties_;
  HostMemory memory_;
};

}  // namespace

Result<IpcHandle> Device::export_ipc(std::byte*) {
  return unsupported("device '" + properties().name + "' cannot give memory to other processes");
}

Result<IpcMemory> Device::open_ipc(const IpcHandle&) {
  return unsupported("device '" + properties().name + "' cannot open memory of other processes");
}

void Device::close_ipc(std::byte*) {}

DevicePtr host_device() {
  static const DevicePtr device = std::make_shared<HostDevice>();
  return device;
}

}  // namespace argosy::device
