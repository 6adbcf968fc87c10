#pragma once

// PoolMetrics: what the pinned and device memory pools hold, when a page is made. There
// is one only where a device is open.
//
// Thread: any.

#include <utility>

#include "device/open_devices.h"
#include "metrics/registry.h"

namespace argosy::engine {

class PoolMetrics final : public metrics::Source {
 public:
  explicit PoolMetrics(device::OpenDevices open) : open_(std::move(open)) {}
  void collect(metrics::Page& page) const override;

 private:
  const device::OpenDevices open_;
};

}  // namespace argosy::engine
