#pragma once

// Device: where batches are computed, and what can be asked of it: memory, copies in
// the order of a stream, and events that order streams among each other.
//
// Three kinds exist: the host itself, CUDA devices, and a simulated one for tests. A
// call on a Stream only enqueues; it says nothing of what becomes of the work. That
// an Event is done means: all that its stream held when it was recorded has happened.
// Host memory of a copy must be pinned and stay untouched until the copy is done;
// nobody here checks that but the simulated device.
//
// Raw blocks belong to whoever asked; device/pool.h is where others get memory.
//
// Thread: Device and Event any. A Stream belongs to one thread at a time.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "device/memory.h"
#include "device/pieces.h"

namespace argosy::device {

struct Properties {
  std::string name;
  int ordinal = 0;
  std::size_t memory_bytes = 0;
  int compute_major = 0;  // 0.0: not a GPU
  int compute_minor = 0;
  int processors = 0;
  std::string uuid = {};  // "GPU-..." or "MIG-...", as the driver's tools write it; empty: not a GPU
};

struct MemoryInfo {
  std::size_t free_bytes = 0;
  std::size_t total_bytes = 0;
};

// What a process gives others of an allocation of its own; a cudaIpcMemHandle_t on CUDA.
using IpcHandle = std::array<std::byte, 64>;

struct IpcMemory {
  std::byte* data = nullptr;
  std::size_t size = 0;  // of the whole allocation
};

class Event {
 public:
  virtual ~Event() = default;
  // An event that was never recorded is done.
  virtual Result<bool> done() const = 0;
  // Blocks the calling thread without spinning.
  virtual Status wait() const = 0;
};
using EventPtr = std::shared_ptr<Event>;

enum class Direction : std::uint8_t { to_device, to_host, on_device };

class Stream {
 public:
  virtual ~Stream() = default;  // what was enqueued still happens

  virtual Status copy(std::byte* to, const std::byte* from, std::size_t bytes, Direction direction) = 0;
  // The same where the host's end is ordinary memory; blocks until it is done. Slower: for
  // whoever has no pinned memory left.
  virtual Status copy_and_wait(std::byte* to, const std::byte* from, std::size_t bytes, Direction direction) = 0;
  virtual Status fill(std::byte* to, std::uint8_t value, std::size_t bytes) = 0;  // device memory
  virtual Status move(std::span<const Piece> pieces) = 0;  // device memory, or pinned as a source

  virtual Status record(Event& event) = 0;
  // What is enqueued from now on happens after what `event` stands for now.
  virtual Status wait(const Event& event) = 0;

  virtual void* native() const = 0;  // cudaStream_t on a CUDA device
};

class Device {
 public:
  virtual ~Device() = default;

  virtual const Properties& properties() const = 0;
  virtual Status make_current() = 0;  // for the calling thread; needed before foreign code uses the device
  virtual Result<MemoryInfo> memory() = 0;
  // Whether its streams can read and write the peer's memory directly; turned on by asking.
  virtual Result<bool> reaches(const Device& peer) = 0;

  // kind: pinned or device. resource_exhausted: there is no memory of that size.
  virtual Result<std::byte*> allocate(MemoryKind kind, std::size_t bytes) = 0;
  // Nothing enqueued may still use it.
  virtual void release(MemoryKind kind, std::byte* block) = 0;

  // What other processes open `block` with: all of a block of device memory that allocate()
  // gave, for as long as it lives; close it there before it is released here.
  // unsupported: the device has no such memory. invalid_argument: the block is none.
  virtual Result<IpcHandle> export_ipc(std::byte* block);
  // Device memory that another process allocated, until close_ipc(), once for each open.
  // unsupported: the device has no such memory. invalid_argument: no handle of its kind.
  virtual Result<IpcMemory> open_ipc(const IpcHandle& handle);
  // Nothing enqueued may still use it.
  virtual void close_ipc(std::byte* data);

  virtual Result<std::unique_ptr<Stream>> make_stream() = 0;
  virtual Result<EventPtr> make_event() = 0;

  Place place() const { return {MemoryKind::device, properties().ordinal}; }
};
using DevicePtr = std::shared_ptr<Device>;

// The GPUs that work here, by ordinal. None without a GPU or its driver, and in a
// build without CUDA; a failure is a GPU that is there and does not answer.
Result<std::vector<DevicePtr>> cuda_devices();
bool built_with_cuda();

// The processor as a device: a stream does at once what it is told.
DevicePtr host_device();

}  // namespace argosy::device
