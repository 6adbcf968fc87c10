#include "shm/region.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

namespace argosy::shm {
namespace {

constexpr std::string_view kReserved = "triton_python_backend_shm_region_";

Status refused(const std::string& name, const std::string& why) {
  return invalid_argument("failed to register shared memory region " + quoted(name) + ": " + why);
}

Status check_key(const std::string& name, const std::string& key) {
  const std::size_t begin = std::min(key.find_first_not_of('/'), key.size());
  const std::string_view bare = std::string_view(key).substr(begin);
  if (bare.empty()) {
    return invalid_argument("cannot register shared memory region " + quoted(name) + " - invalid shm key " +
                            quoted(key));
  }
  if (bare.starts_with(kReserved)) {
    return invalid_argument("cannot register shared memory region " + quoted(name) + " with key " + quoted(key) +
                            " as the key contains the reserved prefix " + quoted(kReserved));
  }
  return {};
}

// How large the object is; nothing: it is no shared memory object.
std::optional<std::uint64_t> object_size(int descriptor) {
  struct stat found {};
  if (::fstat(descriptor, &found) != 0 || !S_ISREG(found.st_mode) || found.st_size < 0) return std::nullopt;
  return static_cast<std::uint64_t>(found.st_size);
}

class Opened {
 public:
  explicit Opened(int descriptor) : descriptor_(descriptor) {}
  ~Opened() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;
  int get() const { return descriptor_; }
  int release() { return std::exchange(descriptor_, -1); }

 private:
  int descriptor_;
};

}  // namespace

std::string quoted(std::string_view name) { return "'" + std::string(name) + "'"; }

Result<std::shared_ptr<Region>> Region::open_system(const std::string& name, const std::string& key,
                                                    std::uint64_t offset, std::uint64_t byte_size) {
  if (auto status = check_key(name, key); !status.ok()) return status;
  Opened object(::shm_open(key.c_str(), O_RDWR | O_NONBLOCK, 0));
  if (object.get() < 0) return internal_error("Unable to open shared memory region: " + quoted(key));
  const auto there = object_size(object.get());
  if (!there) return internal_error("Invalid shared memory region: " + quoted(key));
  if (offset > *there || byte_size > *there - offset) return refused(name, "invalid args");
  void* const mapped =
      ::mmap(nullptr, byte_size, PROT_READ | PROT_WRITE, MAP_SHARED, object.get(), static_cast<off_t>(offset));
  if (mapped == MAP_FAILED) {
    return refused(name, "unable to process address space" + std::error_code(errno, std::generic_category()).message());
  }
  return std::shared_ptr<Region>(new Region({name, Kind::system, key, offset, 0, byte_size},
                                            static_cast<std::byte*>(mapped), object.release(), nullptr));
}

Result<std::shared_ptr<Region>> Region::open_cuda(const std::string& name, std::span<const std::byte> handle,
                                                  device::DevicePtr device, std::uint64_t byte_size) {
  device::IpcHandle raw{};
  if (handle.size() != raw.size()) {
    return invalid_argument("'raw_handle' must be a valid base64 encoded cudaIpcMemHandle_t");
  }
  if (byte_size == 0) return refused(name, "invalid args");
  std::copy(handle.begin(), handle.end(), raw.begin());
  const auto memory = device->open_ipc(raw);
  if (!memory.ok()) return Status(memory.status().code(), refused(name, memory.status().message()).message());
  if (byte_size > memory->size) {
    device->close_ipc(memory->data);
    return refused(name, "invalid args");
  }
  const std::int64_t ordinal = device->properties().ordinal;
  return std::shared_ptr<Region>(
      new Region({name, Kind::cuda, "", 0, ordinal, byte_size}, memory->data, -1, std::move(device)));
}

Region::Region(RegionStatus status, std::byte* data, int descriptor, device::DevicePtr device)
    : status_(std::move(status)), data_(data), descriptor_(descriptor), device_(std::move(device)) {
  if (!device_) pages_.emplace(data_, size());
}

Region::~Region() {
  if (device_) {
    device_->close_ipc(data_);
    return;
  }
  pages_.reset();
  ::munmap(data_, size());
  ::close(descriptor_);
}

Status Region::whole(std::size_t end) const {
  if (device_) return {};
  if (auto status = untorn(); !status.ok()) return status;
  const std::uint64_t there = object_size(descriptor_).value_or(0);
  if (status_.offset + end <= there) return {};
  return invalid_argument("shared memory region " + quoted(status_.name) + ": its object " + quoted(status_.key) +
                          " has " + std::to_string(there) + " bytes now, expected at least " +
                          std::to_string(status_.offset + end) + "; register the region again");
}

Status Region::untorn() const {
  if (!pages_ || !pages_->torn()) return {};
  return invalid_argument(
      "shared memory region " + quoted(status_.name) + ": its object " + quoted(status_.key) +
      " lost pages while it was in use (truncated, or no room for them); register the region again");
}

}  // namespace argosy::shm
