#pragma once

// Pieces: many small copies inside what one device can reach, done at once.
//
// The kernel (device/cuda/move_pieces.cu) and its twin for the processor share the
// arithmetic below: how a piece is cut into words that both ends allow.
//
// Pieces of one call must not overlap each other's destinations; no order is kept
// between them.
//
// Thread: pure functions; any.

#include <cstddef>
#include <cstdint>
#include <span>

namespace argosy::device {

struct Piece {
  std::byte* to = nullptr;
  const std::byte* from = nullptr;
  std::size_t bytes = 0;
};

// `head` single bytes, `count` words of `width` bytes, `tail` single bytes.
struct Words {
  std::size_t head = 0;
  std::size_t count = 0;
  std::size_t width = 1;  // 1, 4, 8 or 16
  std::size_t tail = 0;
  friend bool operator==(const Words&, const Words&) = default;
};

constexpr Words words_of(std::uintptr_t to, std::uintptr_t from, std::size_t bytes) {
  // Both addresses reach a multiple of `width` together only when they differ by one.
  const std::uintptr_t apart = to ^ from;
  const std::size_t width = apart % 16 == 0 ? 16 : apart % 8 == 0 ? 8 : apart % 4 == 0 ? 4 : 1;
  const std::size_t lead = (width - to % width) % width;
  const std::size_t head = lead < bytes ? lead : bytes;
  const std::size_t count = (bytes - head) / width;
  return {head, count, width, bytes - head - count * width};
}

// Pieces travel as a kernel's arguments, of which there may be 4096 bytes.
inline constexpr std::size_t kPiecesPerLaunch = 160;
inline constexpr unsigned kThreadsPerBlock = 256;

// How many blocks share one piece, when the largest of a launch has so many bytes.
constexpr unsigned blocks_per_piece(std::size_t largest_bytes) {
  const std::size_t per_block = std::size_t{kThreadsPerBlock} * 16 * 4;  // four words a thread
  const std::size_t blocks = (largest_bytes + per_block - 1) / per_block;
  return blocks < 1 ? 1u : blocks > 64 ? 64u : static_cast<unsigned>(blocks);
}

// The twin: the same cuts, by the processor, on memory it can reach.
void move_on_host(std::span<const Piece> pieces);

}  // namespace argosy::device
