// SimulatedDevice's calls about memory of other processes: a handle is a mark, the
// address of a block and its size.

#include <cstring>

#include "device/simulated/simulated_device.h"

namespace argosy::device {
namespace {

struct ExportedBlock {
  char mark[16] = "simulated-block";
  std::byte* data = nullptr;
  std::size_t size = 0;
};
static_assert(sizeof(ExportedBlock) <= sizeof(IpcHandle));

}  // namespace

Result<IpcHandle> SimulatedDevice::export_ipc(std::byte* block) {
  auto heap = heap_.lock();
  const auto found = heap->live.find(block);
  if (found == heap->live.end() || found->second.kind != MemoryKind::device || found->second.opens > 0) {
    return invalid_argument("device 'simulated': export of memory that is not its own device memory");
  }
  ExportedBlock exported;
  exported.data = block;
  exported.size = found->second.size;
  IpcHandle handle{};
  std::memcpy(handle.data(), &exported, sizeof exported);
  return handle;
}

Result<IpcMemory> SimulatedDevice::open_ipc(const IpcHandle& handle) {
  if (auto status = trouble("open_ipc"); !status.ok()) return status;
  ExportedBlock exported;
  const ExportedBlock fresh;
  std::memcpy(&exported, handle.data(), sizeof exported);
  if (std::memcmp(exported.mark, fresh.mark, sizeof fresh.mark) != 0) {
    return invalid_argument("device 'simulated': no handle of this kind");
  }
  auto heap = heap_.lock();
  const auto found = heap->live.find(exported.data);
  if (found == heap->live.end()) {
    heap->live[exported.data] = {nullptr, exported.size, MemoryKind::device, ++heap->made, 1};
  } else if (found->second.opens == 0) {
    return invalid_argument("device 'simulated': a handle is for other processes, not for the one that made it");
  } else {
    ++found->second.opens;
  }
  return IpcMemory{exported.data, exported.size};
}

void SimulatedDevice::close_ipc(std::byte* data) {
  auto heap = heap_.lock();
  const auto found = heap->live.find(data);
  if (found == heap->live.end() || found->second.opens == 0) {
    violations_.lock()->push_back("close of memory that was not opened");
  } else if (--found->second.opens == 0) {
    heap->live.erase(found);
  }
}

}  // namespace argosy::device
