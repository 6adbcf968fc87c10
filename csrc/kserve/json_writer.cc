#include "kserve/json_writer.h"

#include <array>

namespace argosy::kserve {
namespace {

constexpr std::size_t kFirstChunk = std::size_t{1} << 10;
constexpr std::size_t kNextChunk = std::size_t{64} << 10;

constexpr auto kPlain = [] {
  std::array<bool, 256> plain{};
  for (std::size_t c = 0x20; c < 256; ++c) plain[c] = c != '"' && c != '\\';
  return plain;
}();

}  // namespace

void JsonWriter::flush() {
  if (!chunk_) return;
  const auto used = static_cast<std::size_t>(at_ - reinterpret_cast<char*>(chunk_.data()));
  out_.add(std::move(chunk_).freeze(used));
  chunk_ = Buffer();
}

void JsonWriter::next_chunk() {
  const std::size_t size = out_.pieces.empty() && !chunk_ ? kFirstChunk : kNextChunk;
  flush();
  chunk_ = pool_.allocate(size);
  if (!chunk_) throw std::bad_alloc();
  at_ = reinterpret_cast<char*>(chunk_.data());
  end_ = at_ + chunk_.capacity();
}

void JsonWriter::string(std::string_view text) {
  put('"');
  while (!text.empty()) {
    std::size_t plain = 0;
    while (plain < text.size() && kPlain[static_cast<unsigned char>(text[plain])]) ++plain;
    raw(text.substr(0, plain));
    if (plain == text.size()) break;
    const char c = text[plain];
    text.remove_prefix(plain + 1);
    switch (c) {
      case '"': raw("\\\""); break;
      case '\\': raw("\\\\"); break;
      case '\b': raw("\\b"); break;
      case '\f': raw("\\f"); break;
      case '\n': raw("\\n"); break;
      case '\r': raw("\\r"); break;
      case '\t': raw("\\t"); break;
      default: {
        constexpr std::string_view kHex = "0123456789ABCDEF";
        const auto byte = static_cast<unsigned char>(c);
        raw("\\u00");
        put(kHex[byte >> 4]);
        put(kHex[byte & 15]);
      }
    }
  }
  put('"');
}

Gather JsonWriter::finish() && {
  flush();
  return std::move(out_);
}

}  // namespace argosy::kserve
