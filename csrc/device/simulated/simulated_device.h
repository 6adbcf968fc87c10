#pragma once

// SimulatedDevice: a device that does late what it may do late. For tests of whatever
// enqueues work: a missing event, a buffer used again too early or freed while in use
// gives wrong bytes here, on any machine, every time.
//
// Fresh and freed memory is poisoned; a copy lands in two halves; memory of the wrong
// kind is refused; what a real device would punish later is listed by violations().
// `fail_one_in` makes calls fail as a device in trouble would.
//
// Thread: any, streams aside. It lives until its streams and events are gone.

#include <atomic>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/guarded.h"
#include "device/device.h"
#include "device/simulated/timeline.h"

namespace argosy::device {

struct SimulatedOptions {
  Pace pace = Pace::late;
  std::uint64_t seed = 1;
  std::size_t memory_bytes = 64u << 20;  // of each kind
  std::uint32_t fail_one_in = 0;         // calls that enqueue or allocate; 0: none fails
  int ordinal = 0;
};

class SimulatedDevice final : public Device, public std::enable_shared_from_this<SimulatedDevice> {
 public:
  static std::shared_ptr<SimulatedDevice> make(SimulatedOptions options = {});
  ~SimulatedDevice() override;

  const Properties& properties() const override { return properties_; }
  Status make_current() override { return {}; }
  Result<MemoryInfo> memory() override;
  Result<bool> reaches(const Device& peer) override { return &peer == this; }
  Result<std::byte*> allocate(MemoryKind kind, std::size_t bytes) override;
  void release(MemoryKind kind, std::byte* block) override;
  // Another simulated device stands for another process: what is released here is poison
  // there.
  Result<IpcHandle> export_ipc(std::byte* block) override;
  Result<IpcMemory> open_ipc(const IpcHandle& handle) override;
  void close_ipc(std::byte* data) override;
  Result<std::unique_ptr<Stream>> make_stream() override;
  Result<EventPtr> make_event() override;

  // Stands for a kernel: enqueues `work`, which must not call the device.
  static Status launch(Stream& stream, std::function<void()> work);

  std::vector<std::string> violations() const { return *violations_.lock(); }
  // `only`: the name of the call that fails, as "record"; null: any.
  void set_fail_one_in(std::uint32_t calls, const char* only = nullptr) {
    failing_call_.store(only, std::memory_order_relaxed);
    fail_one_in_.store(calls, std::memory_order_relaxed);
  }

 private:
  friend class SimulatedStream;

  struct Allocation {
    std::unique_ptr<std::byte[]> bytes;
    std::size_t size = 0;
    MemoryKind kind = MemoryKind::device;
    std::uint64_t number = 0;
    std::uint32_t opens = 0;  // of another device's memory; it owns no bytes then
  };
  struct Heap {
    std::map<const std::byte*, Allocation> live;
    std::vector<std::unique_ptr<std::byte[]>> dead;  // kept, so that a late touch finds poison
    std::size_t used_pinned = 0;
    std::size_t used_device = 0;
    std::uint64_t made = 0;
  };
  struct Range {
    const std::byte* begin = nullptr;
    std::size_t bytes = 0;
    std::uint64_t allocation = 0;
  };

  explicit SimulatedDevice(SimulatedOptions options);
  Status trouble(const char* call);  // the failure this call was drawn for, if any
  Result<Range> range(const std::byte* begin, std::size_t bytes, MemoryKind kind, const char* call);
  bool alive(const Range& range, const char* call);

  const SimulatedOptions options_;
  Properties properties_;
  std::atomic<std::uint32_t> fail_one_in_;  // settings; nothing else hangs on them
  std::atomic<const char*> failing_call_{nullptr};
  mutable Guarded<Heap> heap_;
  mutable Guarded<std::vector<std::string>> violations_;
  Timeline timeline_;  // stops first: its threads use what is above
};

}  // namespace argosy::device
