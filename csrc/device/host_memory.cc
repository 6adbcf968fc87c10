#include "device/host_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

namespace argosy::device {
namespace {

constexpr unsigned kSeals = F_SEAL_SHRINK | F_SEAL_GROW;

struct Exported {
  char mark[16] = "argosy-host-mem";
  std::int32_t process = 0;
  std::int32_t descriptor = -1;
  std::uint64_t bytes = 0;
};
static_assert(sizeof(Exported) <= sizeof(IpcHandle));

std::size_t whole_pages(std::size_t bytes) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return (std::max<std::size_t>(bytes, 1) + page - 1) / page * page;
}

IpcHandle handle_of(int descriptor, std::size_t bytes) {
  Exported exported;
  exported.process = ::getpid();
  exported.descriptor = descriptor;
  exported.bytes = bytes;
  IpcHandle handle{};
  std::memcpy(handle.data(), &exported, sizeof exported);
  return handle;
}

Status write_all(int descriptor, const std::byte* from, std::size_t bytes) {
  while (bytes > 0) {
    const ssize_t count = ::write(descriptor, from, bytes);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return resource_exhausted("the host has no shared pages: " + std::string(std::strerror(errno)));
    from += count;
    bytes -= static_cast<std::size_t>(count);
  }
  return {};
}

}  // namespace

HostMemory::~HostMemory() {
  for (auto* blocks : {&own_, &opened_}) {
    auto held = blocks->lock();
    while (!held->empty()) drop(*held, held->begin()->first);
  }
}

void HostMemory::drop(Blocks& blocks, std::byte* data) {
  const auto found = blocks.find(data);
  if (found == blocks.end()) return;
  ::munmap(data, found->second.bytes);
  if (found->second.descriptor >= 0) ::close(found->second.descriptor);
  blocks.erase(found);
}

Result<std::byte*> HostMemory::allocate(std::size_t bytes) {
  const std::size_t whole = whole_pages(bytes);
  void* const block = ::mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (block == MAP_FAILED) return resource_exhausted("the host has no block of " + std::to_string(bytes) + " bytes");
  auto* const data = static_cast<std::byte*>(block);
  own_.lock()->insert_or_assign(data, Block{whole, -1});
  return data;
}

void HostMemory::release(std::byte* block) { drop(*own_.lock(), block); }

Result<IpcHandle> HostMemory::export_ipc(std::byte* block) {
  auto own = own_.lock();
  const auto found = own->find(block);
  if (found == own->end()) return invalid_argument("device 'host': export of memory that is not its own device memory");
  const std::size_t bytes = found->second.bytes;
  if (found->second.descriptor >= 0) return handle_of(found->second.descriptor, bytes);
  const int descriptor = ::memfd_create("argosy-host-device", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (descriptor < 0) return resource_exhausted("the host has no shared pages: " + std::string(std::strerror(errno)));
  Status status = write_all(descriptor, block, bytes);
  // In the place of the private pages, whose bytes they have.
  if (status.ok() &&
      (::fcntl(descriptor, F_ADD_SEALS, kSeals) != 0 ||
       ::mmap(block, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, descriptor, 0) == MAP_FAILED)) {
    status = resource_exhausted("the host has no shared pages: " + std::string(std::strerror(errno)));
  }
  if (!status.ok()) {
    ::close(descriptor);
    return status;
  }
  found->second.descriptor = descriptor;
  return handle_of(descriptor, bytes);
}

Result<IpcMemory> HostMemory::open_ipc(const IpcHandle& handle) {
  Exported exported;
  const Exported fresh;
  std::memcpy(&exported, handle.data(), sizeof exported);
  const Status none = invalid_argument("device 'host': no handle of this kind, or its owner is gone");
  if (std::memcmp(exported.mark, fresh.mark, sizeof fresh.mark) != 0 || exported.bytes == 0) return none;
  const std::string path = "/proc/" + std::to_string(exported.process) + "/fd/" + std::to_string(exported.descriptor);
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return none;
  // Only what cannot shrink: nobody may take pages away that are in use here.
  struct stat found {};
  const int seals = ::fcntl(descriptor, F_GET_SEALS);
  const bool good = seals >= 0 && (static_cast<unsigned>(seals) & kSeals) == kSeals &&
                    ::fstat(descriptor, &found) == 0 && static_cast<std::uint64_t>(found.st_size) == exported.bytes;
  void* const data =
      good ? ::mmap(nullptr, exported.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0) : MAP_FAILED;
  ::close(descriptor);
  if (data == MAP_FAILED) return none;
  const IpcMemory memory{static_cast<std::byte*>(data), static_cast<std::size_t>(exported.bytes)};
  opened_.lock()->insert_or_assign(memory.data, Block{memory.size, -1});
  return memory;
}

void HostMemory::close_ipc(std::byte* data) { drop(*opened_.lock(), data); }

}  // namespace argosy::device
