#include "device/cuda/cuda_stream.h"

#include <algorithm>

#include "device/cuda/error.h"
#include "device/cuda/move_pieces.h"

namespace argosy::device {
namespace {

std::string on_gpu(const char* call, int ordinal) { return std::string(call) + " on GPU " + std::to_string(ordinal); }

cudaMemcpyKind kind_of(Direction direction) {
  switch (direction) {
    case Direction::to_device: return cudaMemcpyHostToDevice;
    case Direction::to_host: return cudaMemcpyDeviceToHost;
    case Direction::on_device: return cudaMemcpyDeviceToDevice;
  }
  return cudaMemcpyDefault;
}

}  // namespace

Result<EventPtr> CudaEvent::make(int ordinal) {
  cudaEvent_t event = nullptr;
  cudaError_t error = cudaSetDevice(ordinal);
  if (error == cudaSuccess) error = cudaEventCreateWithFlags(&event, cudaEventDisableTiming | cudaEventBlockingSync);
  if (error != cudaSuccess) return cuda_status(error, on_gpu("creating an event", ordinal));
  return EventPtr(new CudaEvent(ordinal, event));
}

// Nothing can be done about a failure here: the process's context is gone.
CudaEvent::~CudaEvent() { (void)cudaEventDestroy(event_); }

Result<bool> CudaEvent::done() const {
  const cudaError_t error = cudaEventQuery(event_);
  if (error == cudaErrorNotReady) {
    (void)cudaGetLastError();
    return false;
  }
  if (error != cudaSuccess) return cuda_status(error, on_gpu("asking for an event", ordinal_));
  return true;
}

Status CudaEvent::wait() const {
  const cudaError_t error = cudaEventSynchronize(event_);
  return error == cudaSuccess ? Status() : cuda_status(error, on_gpu("waiting for an event", ordinal_));
}

Result<std::unique_ptr<Stream>> CudaStream::make(int ordinal) {
  cudaStream_t stream = nullptr;
  cudaError_t error = cudaSetDevice(ordinal);
  if (error == cudaSuccess) error = cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  if (error != cudaSuccess) return cuda_status(error, on_gpu("creating a stream", ordinal));
  return std::unique_ptr<Stream>(new CudaStream(ordinal, stream));
}

CudaStream::~CudaStream() { (void)cudaStreamDestroy(stream_); }

Status CudaStream::check(cudaError_t error, const char* call) const {
  return error == cudaSuccess ? Status() : cuda_status(error, on_gpu(call, ordinal_));
}

Status CudaStream::copy(std::byte* to, const std::byte* from, std::size_t bytes, Direction direction) {
  if (bytes == 0) return {};
  cudaError_t error = cudaSetDevice(ordinal_);
  if (error == cudaSuccess) error = cudaMemcpyAsync(to, from, bytes, kind_of(direction), stream_);
  return check(error, "enqueueing a copy");
}

// What cudaMemcpyAsync promises for ordinary memory depends on the direction; an event
// behind it does not.
Status CudaStream::copy_and_wait(std::byte* to, const std::byte* from, std::size_t bytes, Direction direction) {
  const auto done = CudaEvent::make(ordinal_);
  if (!done.ok()) return done.status();
  if (auto status = copy(to, from, bytes, direction); !status.ok()) return status;
  if (auto status = record(**done); !status.ok()) return status;
  return (*done)->wait();
}

Status CudaStream::fill(std::byte* to, std::uint8_t value, std::size_t bytes) {
  if (bytes == 0) return {};
  cudaError_t error = cudaSetDevice(ordinal_);
  if (error == cudaSuccess) error = cudaMemsetAsync(to, value, bytes, stream_);
  return check(error, "enqueueing a fill");
}

Status CudaStream::move(std::span<const Piece> pieces) {
  cudaError_t error = cudaSetDevice(ordinal_);
  while (error == cudaSuccess && !pieces.empty()) {
    const std::size_t count = std::min(pieces.size(), kPiecesPerLaunch);
    error = launch_move(pieces.first(count), stream_);
    pieces = pieces.subspan(count);
  }
  return check(error, "launching the move of small pieces");
}

Status CudaStream::record(Event& event) {
  cudaError_t error = cudaSetDevice(ordinal_);
  if (error == cudaSuccess) error = cudaEventRecord(static_cast<CudaEvent&>(event).native(), stream_);
  return check(error, "recording an event");
}

Status CudaStream::wait(const Event& event) {
  cudaError_t error = cudaSetDevice(ordinal_);
  if (error == cudaSuccess) error = cudaStreamWaitEvent(stream_, static_cast<const CudaEvent&>(event).native(), 0);
  return check(error, "making a stream wait");
}

}  // namespace argosy::device
