#include "kserve/shm_refs.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace argosy::kserve {
namespace {

Result<shm::Slice> find(const shm::Regions* regions, const RegionReference& reference, std::string_view role,
                        std::string_view tensor) {
  if (regions != nullptr) return regions->slice(reference.region, reference.offset, reference.byte_size);
  return unsupported(std::string(role) + " '" + std::string(tensor) +
                     "': Client shared memory is disabled. Start the server with '--allow-client-shm=true' to enable.");
}

RegionUse& use_of(RegionUsePtr& use) {
  if (!use) use = std::make_unique<RegionUse>();
  return *use;
}

bool of_gpu(const shm::Region& region) { return region.device() != nullptr; }

}  // namespace

bool RegionUse::outputs_on_gpu() const {
  return std::any_of(outputs.begin(), outputs.end(), [](const auto& one) { return of_gpu(*one.slice.region); });
}

Status RegionReference::check(std::string_view tensor) const {
  // Nearly every tensor is elsewhere, and pays for no text.
  if (has_region ? has_byte_size : !has_offset && !has_byte_size) return {};
  const std::string of = " for tensor '" + std::string(tensor) + "'";
  if (has_region) {
    return invalid_argument("'shared_memory_byte_size' must be specified along with 'shared_memory_region' parameter" +
                            of);
  }
  return invalid_argument("'" + std::string(has_offset ? "shared_memory_offset" : "shared_memory_byte_size") +
                          "' can not be specified without 'shared_memory_region' parameter" + of);
}

Status take_region_input(const shm::Regions* regions, const RegionReference& reference, tensor::Tensor& input,
                         BytesPool& pool, RegionUsePtr& use, std::size_t& held) {
  auto slice = find(regions, reference, "input", input.name);
  if (!slice.ok()) return slice.status();
  use_of(use).inputs.push_back(slice->region);
  if (input.dtype != tensor::DType::bytes || of_gpu(*slice->region)) {
    input.data = slice->memory();
    return {};
  }
  Buffer copy = pool.allocate(slice->size);
  if (!copy) {
    return resource_exhausted("input '" + input.name + "': no memory for " + std::to_string(slice->size) + " bytes");
  }
  std::memcpy(copy.data(), slice->data, slice->size);
  held += slice->size;
  input.data = std::move(copy).freeze(slice->size);
  return {};
}

Status take_region_output(const shm::Regions* regions, const RegionReference& reference, std::string_view output,
                          RegionUsePtr& use) {
  auto slice = find(regions, reference, "output", output);
  if (!slice.ok()) return slice.status();
  use_of(use).outputs.push_back({std::string(output), *std::move(slice)});
  return {};
}

}  // namespace argosy::kserve
