#include "worker/shared_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace argosy::worker {
namespace {

Status failed(const char* step, const std::string& name, std::size_t size) {
  return resource_exhausted(std::string("shared memory '") + name + "' of " + std::to_string(size) + " bytes: " + step +
                            ": " + std::strerror(errno));
}

}  // namespace

Result<SharedMemory> SharedMemory::create(const std::string& name, std::size_t size) {
  SharedMemory made;
  made.descriptor_ = memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (made.descriptor_ < 0) return failed("memfd_create", name, size);
  if (ftruncate(made.descriptor_, static_cast<off_t>(size)) != 0) return failed("ftruncate", name, size);
  if (fcntl(made.descriptor_, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return failed("sealing the size", name, size);
  }
  void* mapped = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, made.descriptor_, 0);
  if (mapped == MAP_FAILED) return failed("mmap", name, size);
  made.data_ = static_cast<std::byte*>(mapped);
  made.size_ = size;
  return made;
}

SharedMemory& SharedMemory::operator=(SharedMemory&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

SharedMemory::~SharedMemory() {
  if (data_ != nullptr) munmap(data_, size_);
  if (descriptor_ >= 0) close(descriptor_);
}

void SharedMemory::discard(std::size_t offset, std::size_t count) const {
  // A refusal costs memory, not correctness.
  (void)!fallocate(descriptor_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                   static_cast<off_t>(count));
}

}  // namespace argosy::worker
