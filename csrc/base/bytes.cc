#include "base/bytes.h"

namespace argosy {

Bytes Bytes::copy_of(std::span<const std::byte> from) {
  if (from.empty()) return {};
  auto owner = std::shared_ptr<std::byte[]>(new std::byte[from.size()]);
  std::memcpy(owner.get(), from.data(), from.size());
  const std::byte* data = owner.get();
  return {std::move(owner), data, from.size()};
}

Bytes Bytes::take(std::string text) {
  auto owner = std::make_shared<const std::string>(std::move(text));
  const auto* data = reinterpret_cast<const std::byte*>(owner->data());
  const std::size_t size = owner->size();
  return {std::move(owner), data, size};
}

}  // namespace argosy
