#include "kserve/proto_peek.h"

#include <cstdint>

#include "kserve/wire.h"

namespace argosy::kserve {

std::optional<InferPeek> peek_model_infer(std::string_view begin, std::size_t length, std::size_t large) {
  constexpr std::uint32_t kName = 1, kVersion = 2, kRaw = 7;
  if (begin.size() > length) return std::nullopt;
  InferPeek found;
  for (std::size_t at = 0; at < begin.size();) {
    WireReader reader(begin.substr(at));
    if (!reader.next()) return std::nullopt;
    if (reader.type() != WireType::bytes) {
      if (!reader.skip()) return std::nullopt;
      at = begin.size() - reader.left();
      continue;
    }
    std::uint64_t size = 0;
    if (!reader.raw_varint(size)) return std::nullopt;
    at = begin.size() - reader.left();
    if (size > length - at) return std::nullopt;
    if (reader.field() == kRaw && size >= large) {
      found.first_large = at;
      return found.model_name.empty() ? std::nullopt : std::optional(found);
    }
    if (size > reader.left()) return std::nullopt;
    if (reader.field() == kName) found.model_name = begin.substr(at, size);
    if (reader.field() == kVersion) found.model_version = begin.substr(at, size);
    at += size;
  }
  return std::nullopt;
}

}  // namespace argosy::kserve
