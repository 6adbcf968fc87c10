#include "device/simulated/simulated_device.h"

#include <cstring>
#include <string_view>
#include <utility>

namespace argosy::device {
namespace {

constexpr int kFresh = 0xA5;
constexpr int kDead = 0xDD;

const char* name_of(MemoryKind kind) {
  switch (kind) {
    case MemoryKind::host: return "host";
    case MemoryKind::pinned: return "pinned";
    case MemoryKind::device: return "device";
  }
  return "unknown";
}

class SimulatedEvent final : public Event {
 public:
  SimulatedEvent(std::shared_ptr<SimulatedDevice> device, Timeline& timeline)
      : device_(std::move(device)), timeline_(timeline) {}

  Result<bool> done() const override {
    const auto point = *point_.lock();
    return !point || timeline_.reached(*point);
  }
  Status wait() const override {
    const auto point = *point_.lock();
    if (point) timeline_.wait(*point);
    return {};
  }

  void set(Point point) { *point_.lock() = point; }
  std::optional<Point> point() const { return *point_.lock(); }

 private:
  const std::shared_ptr<SimulatedDevice> device_;  // keeps timeline_ alive
  Timeline& timeline_;
  mutable Guarded<std::optional<Point>> point_;
};

}  // namespace

class SimulatedStream final : public Stream {
 public:
  explicit SimulatedStream(std::shared_ptr<SimulatedDevice> device)
      : device_(std::move(device)), timeline_(device_->timeline_), id_(timeline_.add_stream()) {}
  ~SimulatedStream() override { timeline_.finish_stream(id_); }

  Status copy(std::byte* to, const std::byte* from, std::size_t bytes, Direction direction) override {
    if (auto status = device_->trouble("copy"); !status.ok()) return status;
    if (bytes == 0) return {};
    const auto target =
        device_->range(to, bytes, direction == Direction::to_host ? MemoryKind::pinned : MemoryKind::device, "copy to");
    if (!target.ok()) return target.status();
    const auto source = device_->range(
        from, bytes, direction == Direction::to_device ? MemoryKind::pinned : MemoryKind::device, "copy from");
    if (!source.ok()) return source.status();
    const std::size_t half = timeline_.draw(bytes);
    enqueue_copy(to, from, half, *target, *source);
    enqueue_copy(to + half, from + half, bytes - half, *target, *source);
    return {};
  }

  Status copy_and_wait(std::byte* to, const std::byte* from, std::size_t bytes, Direction direction) override {
    if (auto status = device_->trouble("copy_and_wait"); !status.ok()) return status;
    if (bytes == 0) return {};
    const bool leaves = direction == Direction::to_host;
    const auto on_device = device_->range(leaves ? from : to, bytes, MemoryKind::device, "copy_and_wait");
    if (!on_device.ok()) return on_device.status();
    const std::size_t half = timeline_.draw(bytes);
    enqueue_copy(to, from, half, *on_device, *on_device);
    enqueue_copy(to + half, from + half, bytes - half, *on_device, *on_device);
    if (auto status = device_->trouble("wait for a copy"); !status.ok()) return status;  // which may still come
    timeline_.wait(timeline_.now(id_));
    return {};
  }

  Status fill(std::byte* to, std::uint8_t value, std::size_t bytes) override {
    if (auto status = device_->trouble("fill"); !status.ok()) return status;
    if (bytes == 0) return {};
    const auto target = device_->range(to, bytes, MemoryKind::device, "fill");
    if (!target.ok()) return target.status();
    timeline_.enqueue(id_, [device = device_.get(), to, value, bytes, target = *target] {
      if (device->alive(target, "fill")) std::memset(to, value, bytes);
    });
    return {};
  }

  Status move(std::span<const Piece> pieces) override {
    if (auto status = device_->trouble("move"); !status.ok()) return status;
    std::vector<SimulatedDevice::Range> ranges;
    for (const Piece& piece : pieces) {
      auto target = device_->range(piece.to, piece.bytes, MemoryKind::device, "move to");
      if (!target.ok()) return target.status();
      auto source = device_->range(piece.from, piece.bytes, MemoryKind::device, "move from");
      if (!source.ok()) source = device_->range(piece.from, piece.bytes, MemoryKind::pinned, "move from");
      if (!source.ok()) return source.status();
      ranges.push_back(*target);
      ranges.push_back(*source);
    }
    timeline_.enqueue(id_, [device = device_.get(), ranges = std::move(ranges),
                            copies = std::vector<Piece>(pieces.begin(), pieces.end())] {
      for (const auto& range : ranges) {
        if (!device->alive(range, "move")) return;
      }
      move_on_host(copies);
    });
    return {};
  }

  Status record(Event& event) override {
    if (auto status = device_->trouble("record"); !status.ok()) return status;
    static_cast<SimulatedEvent&>(event).set(timeline_.now(id_));
    return {};
  }

  Status wait(const Event& event) override {
    if (auto status = device_->trouble("wait"); !status.ok()) return status;
    if (const auto point = static_cast<const SimulatedEvent&>(event).point()) timeline_.enqueue_wait(id_, *point);
    return {};
  }

  Status launch(std::function<void()> work) {
    if (auto status = device_->trouble("launch"); !status.ok()) return status;
    timeline_.enqueue(id_, std::move(work));
    return {};
  }

  void* native() const override { return nullptr; }

 private:
  void enqueue_copy(std::byte* to, const std::byte* from, std::size_t bytes, const SimulatedDevice::Range& target,
                    const SimulatedDevice::Range& source) {
    timeline_.enqueue(id_, [device = device_.get(), to, from, bytes, target, source] {
      if (device->alive(target, "copy to") && device->alive(source, "copy from")) std::memcpy(to, from, bytes);
    });
  }

  const std::shared_ptr<SimulatedDevice> device_;
  Timeline& timeline_;
  const std::size_t id_;
};

std::shared_ptr<SimulatedDevice> SimulatedDevice::make(SimulatedOptions options) {
  return std::shared_ptr<SimulatedDevice>(new SimulatedDevice(options));
}

SimulatedDevice::SimulatedDevice(SimulatedOptions options)
    : options_(options), fail_one_in_(options.fail_one_in), timeline_(options.pace, options.seed) {
  properties_ = {
      "simulated", options.ordinal, options.memory_bytes, 0, 0, 1, "GPU-simulated-" + std::to_string(options.ordinal)};
}

SimulatedDevice::~SimulatedDevice() = default;

Status SimulatedDevice::trouble(const char* call) {
  const std::uint32_t one_in = fail_one_in_.load(std::memory_order_relaxed);
  if (one_in == 0) return {};
  const char* const only = failing_call_.load(std::memory_order_relaxed);
  if ((only != nullptr && std::string_view(only) != call) || timeline_.draw(one_in) != 0) return {};
  return internal_error(std::string("device 'simulated': ") + call + " failed, as it was told to");
}

Result<MemoryInfo> SimulatedDevice::memory() {
  return MemoryInfo{options_.memory_bytes - heap_.lock()->used_device, options_.memory_bytes};
}

Result<std::byte*> SimulatedDevice::allocate(MemoryKind kind, std::size_t bytes) {
  if (auto status = trouble("allocate"); !status.ok()) return status;
  auto heap = heap_.lock();
  std::size_t& used = kind == MemoryKind::device ? heap->used_device : heap->used_pinned;
  if (bytes == 0 || bytes > options_.memory_bytes - used) {
    return resource_exhausted("device 'simulated': no " + std::string(name_of(kind)) + " memory of " +
                              std::to_string(bytes) + " bytes");
  }
  used += bytes;
  std::unique_ptr<std::byte[]> block(new std::byte[bytes]);
  std::memset(block.get(), kFresh, bytes);
  std::byte* const data = block.get();
  heap->live[data] = {std::move(block), bytes, kind, ++heap->made};
  return data;
}

void SimulatedDevice::release(MemoryKind kind, std::byte* block) {
  auto heap = heap_.lock();
  const auto found = heap->live.find(block);
  if (found == heap->live.end() || found->second.kind != kind || found->second.opens > 0) {
    violations_.lock()->push_back(std::string("release of ") + name_of(kind) + " memory that was not allocated");
    return;
  }
  (kind == MemoryKind::device ? heap->used_device : heap->used_pinned) -= found->second.size;
  std::memset(block, kDead, found->second.size);
  heap->dead.push_back(std::move(found->second.bytes));
  heap->live.erase(found);
}

Result<SimulatedDevice::Range> SimulatedDevice::range(const std::byte* begin, std::size_t bytes, MemoryKind kind,
                                                      const char* call) {
  auto heap = heap_.lock();
  auto found = heap->live.upper_bound(begin);
  if (found != heap->live.begin()) {
    --found;
    const Allocation& block = found->second;
    if (begin <= found->first + block.size && bytes <= static_cast<std::size_t>(found->first + block.size - begin)) {
      if (block.kind == kind) return Range{begin, bytes, block.number};
      return invalid_argument(std::string("device 'simulated': ") + call + " " + name_of(block.kind) +
                              " memory, expected " + name_of(kind));
    }
  }
  return invalid_argument(std::string("device 'simulated': ") + call + " " + std::to_string(bytes) +
                          " bytes that lie in no one block, expected " + name_of(kind) + " memory");
}

bool SimulatedDevice::alive(const Range& range, const char* call) {
  {
    auto heap = heap_.lock();
    auto found = heap->live.upper_bound(range.begin);
    if (found != heap->live.begin() && (--found)->second.number == range.allocation) return true;
  }
  violations_.lock()->push_back(std::string(call) + " ran after its memory was released");
  return false;
}

Result<std::unique_ptr<Stream>> SimulatedDevice::make_stream() {
  if (auto status = trouble("make_stream"); !status.ok()) return status;
  return std::unique_ptr<Stream>(new SimulatedStream(shared_from_this()));
}

Result<EventPtr> SimulatedDevice::make_event() {
  if (auto status = trouble("make_event"); !status.ok()) return status;
  return EventPtr(std::make_shared<SimulatedEvent>(shared_from_this(), timeline_));
}

Status SimulatedDevice::launch(Stream& stream, std::function<void()> work) {
  return static_cast<SimulatedStream&>(stream).launch(std::move(work));
}

}  // namespace argosy::device
