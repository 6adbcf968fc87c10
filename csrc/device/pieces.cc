#include "device/pieces.h"

#include <cstring>

namespace argosy::device {
namespace {

template <std::size_t Width>
void copy_words(std::byte* to, const std::byte* from, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) std::memcpy(to + i * Width, from + i * Width, Width);
}

}  // namespace

void move_on_host(std::span<const Piece> pieces) {
  for (const Piece& piece : pieces) {
    const Words words =
        words_of(reinterpret_cast<std::uintptr_t>(piece.to), reinterpret_cast<std::uintptr_t>(piece.from), piece.bytes);
    copy_words<1>(piece.to, piece.from, words.head);
    std::byte* to = piece.to + words.head;
    const std::byte* from = piece.from + words.head;
    switch (words.width) {
      case 16: copy_words<16>(to, from, words.count); break;
      case 8: copy_words<8>(to, from, words.count); break;
      case 4: copy_words<4>(to, from, words.count); break;
      default: copy_words<1>(to, from, words.count); break;
    }
    const std::size_t done = words.count * words.width;
    copy_words<1>(to + done, from + done, words.tail);
  }
}

}  // namespace argosy::device
