#pragma once

// shm_refs: what the shared_memory_* parameters of a request name: parts of regions that
// the client has registered.
//
// An input becomes a slice of its region, without a copy; BYTES are copied, because
// their lengths are checked first and believed later, and the client can write to the
// region at any time.
//
// Thread: pure functions over shm::Regions; any.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes_pool.h"
#include "base/status.h"
#include "shm/regions.h"
#include "tensor/tensor.h"

namespace argosy::kserve {

struct OutputInRegion {
  std::string name;
  shm::Slice slice;
};

// The regions of one request; it has them until its last answer.
struct RegionUse {
  std::vector<std::shared_ptr<const shm::Region>> inputs;
  std::vector<OutputInRegion> outputs;

  bool outputs_on_gpu() const;  // any of them
};
using RegionUsePtr = std::unique_ptr<RegionUse>;  // null: none, as in nearly every request

// What the parameters of one input or output say.
struct RegionReference {
  std::string region;
  std::uint64_t offset = 0;
  std::uint64_t byte_size = 0;
  bool has_region = false, has_offset = false, has_byte_size = false;

  // A size or an offset of nothing, or a region without a size.
  Status check(std::string_view tensor) const;
};

// `regions` is null where clients may not share memory. `held`: bytes that the request
// itself now holds.
Status take_region_input(const shm::Regions* regions, const RegionReference& reference, tensor::Tensor& input,
                         BytesPool& pool, RegionUsePtr& use, std::size_t& held);
Status take_region_output(const shm::Regions* regions, const RegionReference& reference, std::string_view output,
                          RegionUsePtr& use);

}  // namespace argosy::kserve
