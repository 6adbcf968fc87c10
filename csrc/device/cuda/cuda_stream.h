#pragma once

// CudaStream and CudaEvent: RAII over a non-blocking stream and an event without
// timing, whose host waits sleep.
//
// Thread: as Stream and Event. Each call makes its device the thread's current one.

#include <cuda_runtime_api.h>

#include "device/device.h"

namespace argosy::device {

class CudaEvent final : public Event {
 public:
  static Result<EventPtr> make(int ordinal);
  ~CudaEvent() override;
  CudaEvent(const CudaEvent&) = delete;
  CudaEvent& operator=(const CudaEvent&) = delete;

  Result<bool> done() const override;
  Status wait() const override;
  cudaEvent_t native() const { return event_; }

 private:
  CudaEvent(int ordinal, cudaEvent_t event) : ordinal_(ordinal), event_(event) {}
  const int ordinal_;
  const cudaEvent_t event_;
};

class CudaStream final : public Stream {
 public:
  static Result<std::unique_ptr<Stream>> make(int ordinal);
  ~CudaStream() override;
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;

  Status copy(std::byte* to, const std::byte* from, std::size_t bytes, Direction direction) override;
  Status copy_and_wait(std::byte* to, const std::byte* from, std::size_t bytes, Direction direction) override;
  Status fill(std::byte* to, std::uint8_t value, std::size_t bytes) override;
  Status move(std::span<const Piece> pieces) override;
  Status record(Event& event) override;
  Status wait(const Event& event) override;
  void* native() const override { return stream_; }

 private:
  CudaStream(int ordinal, cudaStream_t stream) : ordinal_(ordinal), stream_(stream) {}
  Status check(cudaError_t error, const char* call) const;
  const int ordinal_;
  const cudaStream_t stream_;
};

}  // namespace argosy::device
