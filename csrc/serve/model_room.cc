#include "serve/model_room.h"

#include <utility>

#include "kserve/path.h"

namespace argosy::serve {

Buffer model_room(const Services& services, std::string_view model, std::string_view version, std::size_t size,
                  std::size_t aligned) {
  constexpr std::size_t kAlignment = 64;  // what a pool gives, and the widest vector needs
  if (size <= kLargeTensor) return {};
  const auto number = kserve::parse_version(version);
  if (!number.ok()) return {};
  const auto handle = services.engine.find(model, *number);
  if (!handle.ok()) return {};
  BytesPool* const pool = engine::receive_pool(*handle);
  if (pool == nullptr) return {};
  const std::size_t before = (kAlignment - aligned % kAlignment) % kAlignment;
  Buffer buffer = pool->allocate(before + size);
  if (!buffer) return {};
  return std::move(buffer).from(before);
}

}  // namespace argosy::serve
