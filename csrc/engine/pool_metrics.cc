#include "engine/pool_metrics.h"

#include <string>

namespace argosy::engine {
namespace {

using metrics::Family;
using metrics::Kind;

const Family kPinnedTotal{"nv_pinned_memory_pool_total_bytes", Kind::gauge,
                          "Pinned host memory that may be in use, in bytes"};
const Family kPinnedUsed{"nv_pinned_memory_pool_used_bytes", Kind::gauge,
                         "Pinned host memory in use by received requests, batches and answers, in bytes"};
const Family kWithout{"argosy_pinned_memory_pool_fallbacks_total", Kind::counter,
                      "Copies of a batch's inputs or outputs that went through ordinary host memory, which is slower, "
                      "because the pinned memory pool had no room"};
const Family kTotal{"argosy_device_memory_pool_total_bytes", Kind::gauge,
                    "Memory of this GPU that batches may use, in bytes"};
const Family kUsed{"argosy_device_memory_pool_used_bytes", Kind::gauge,
                   "Memory of this GPU in use by batches, in bytes"};
const Family kCached{"argosy_device_memory_pool_cached_bytes", Kind::gauge,
                     "Memory of this GPU kept for the next batches, in bytes"};
const Family kRefused{"argosy_device_memory_pool_refused_total", Kind::counter,
                      "Times that this GPU's memory pool had no room for a batch"};

}  // namespace

void PoolMetrics::collect(metrics::Page& page) const {
  const auto received = open_.received->statistics();
  const auto batches = open_.batches->statistics();
  page.add(kPinnedTotal, {}, static_cast<std::uint64_t>(received.limit_bytes + batches.limit_bytes));
  page.add(kPinnedUsed, {}, static_cast<std::uint64_t>(received.used_bytes + batches.used_bytes));
  page.add(kWithout, {}, open_.batches->done_without());
  for (const auto& one : open_.devices) {
    const metrics::Labels gpu{{"gpu", std::to_string(one.device->properties().ordinal)}};
    const auto now = one.memory->statistics();
    page.add(kTotal, gpu, static_cast<std::uint64_t>(now.limit_bytes));
    page.add(kUsed, gpu, static_cast<std::uint64_t>(now.used_bytes));
    page.add(kCached, gpu, static_cast<std::uint64_t>(now.cached_bytes));
    page.add(kRefused, gpu, now.refused);
  }
}

}  // namespace argosy::engine
