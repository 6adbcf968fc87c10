#include "load/gpu_tensors.h"

#include <algorithm>
#include <string>

namespace argosy::load {
namespace {

using device::DevicePtr;
using device::Direction;
using device::MemoryKind;

// Smaller allocations share one of the driver's with others, which the server would see.
constexpr std::size_t kWhole = std::size_t{2} << 20;

class Block {
 public:
  Block(DevicePtr device, MemoryKind kind) : device_(std::move(device)), kind_(kind) {}
  ~Block() { drop(); }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  Status allocate(std::size_t bytes) {
    drop();
    auto made = device_->allocate(kind_, bytes);
    if (made.ok()) data_ = *made;
    return made.status();
  }
  std::byte* data() const { return data_; }

 private:
  void drop() {
    if (data_ != nullptr) device_->release(kind_, data_);
    data_ = nullptr;
  }
  const DevicePtr device_;
  const MemoryKind kind_;
  std::byte* data_ = nullptr;
};

Status done(const DevicePtr& device, device::Stream& stream) {
  auto event = device->make_event();
  if (!event.ok()) return event.status();
  if (auto status = stream.record(**event); !status.ok()) return status;
  return (*event)->wait();
}

class GpuTensors final : public SharedTensors {
 public:
  GpuTensors(DevicePtr device, SharedLayout layout)
      : SharedTensors(std::move(layout)), device_(std::move(device)), block_(device_, MemoryKind::device) {}

  Status fill(const std::vector<Sample>& samples) {
    bytes_ = (layout_.bytes + kWhole - 1) / kWhole * kWhole;
    if (auto status = block_.allocate(bytes_); !status.ok()) return status;
    auto handle = device_->export_ipc(block_.data());
    if (!handle.ok()) return handle.status();
    handle_.assign(reinterpret_cast<const char*>(handle->data()), handle->size());
    Block staging(device_, MemoryKind::pinned);
    if (auto status = staging.allocate(layout_.input_bytes); !status.ok()) return status;
    fill_inputs(layout_, samples, reinterpret_cast<char*>(staging.data()));
    auto stream = device_->make_stream();
    if (!stream.ok()) return stream.status();
    Status status = (*stream)->copy(block_.data(), staging.data(), layout_.input_bytes, Direction::to_device);
    // What the memory held before may be the right answer of an earlier run.
    if (status.ok()) status = (*stream)->fill(block_.data() + layout_.input_bytes, 0, bytes_ - layout_.input_bytes);
    const Status finished = done(device_, **stream);  // also of a half: the staging block is in use
    return status.ok() ? finished : status;
  }

  SharedObject object() const override { return {own_region(), "", bytes_, handle_, device_->properties().ordinal}; }

  std::unique_ptr<OutputReader> reader() const override {
    class Reader final : public OutputReader {
     public:
      explicit Reader(const GpuTensors& from) : from_(from), here_(from.device_, MemoryKind::pinned) {}
      Result<std::string_view> first(std::size_t which, std::size_t bytes) override {
        const SharedPlace place = from_.first_output(which, bytes);
        if (auto status = prepare(place.bytes); !status.ok()) return status;
        Status status =
            stream_->copy(here_.data(), from_.block_.data() + place.offset, place.bytes, Direction::to_host);
        const Status finished = done(from_.device_, *stream_);
        if (status.ok()) status = finished;
        if (!status.ok()) return status;
        return std::string_view(reinterpret_cast<const char*>(here_.data()), place.bytes);
      }

     private:
      Status prepare(std::size_t bytes) {
        if (!stream_) {
          auto made = from_.device_->make_stream();
          if (!made.ok()) return made.status();
          stream_ = *std::move(made);
        }
        if (bytes <= room_ && room_ > 0) return {};
        room_ = std::max<std::size_t>(bytes, 1);
        return here_.allocate(room_);
      }

      const GpuTensors& from_;
      Block here_;
      std::size_t room_ = 0;
      std::unique_ptr<device::Stream> stream_;
    };
    return std::make_unique<Reader>(*this);
  }

 private:
  const DevicePtr device_;
  Block block_;
  std::size_t bytes_ = 0;
  std::string handle_;
};

}  // namespace

Result<DevicePtr> find_gpu(std::string_view name) {
  if (name == "host") return device::host_device();
  const std::string flag = "--shared-memory cuda: ";
  if (!device::built_with_cuda()) {
    return unsupported(flag + "this load generator is built without CUDA; use system or none");
  }
  auto found = device::cuda_devices();
  if (!found.ok()) return found.status();
  if (found->empty()) return unsupported(flag + "there is no GPU here, or no driver for it; use system or none");
  for (const DevicePtr& one : *found) {
    if (std::to_string(one->properties().ordinal) == name) return one;
  }
  return unsupported(flag + "--cuda-device " + std::string(name) + ": this machine has " +
                     std::to_string(found->size()) + (found->size() == 1 ? " GPU" : " GPUs"));
}

Result<std::unique_ptr<SharedTensors>> gpu_tensors(DevicePtr device, const std::vector<Sample>& samples,
                                                   const ModelCard& card, std::size_t output_bytes) {
  auto layout = lay_out(own_region(), samples, card, output_bytes);
  if (!layout.ok()) return layout.status();
  auto made = std::make_unique<GpuTensors>(std::move(device), *std::move(layout));
  if (auto status = made->fill(samples); !status.ok()) {
    return Status(status.code(), "shared memory on the GPU: " + status.message());
  }
  return std::unique_ptr<SharedTensors>(std::move(made));
}

}  // namespace argosy::load
