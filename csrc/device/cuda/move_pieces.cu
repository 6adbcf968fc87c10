#include "device/cuda/move_pieces.h"

#include <algorithm>

namespace argosy::device {
namespace {

struct Table {
  Piece pieces[kPiecesPerLaunch];
};
static_assert(sizeof(Table) <= 4096 - 64, "kernel arguments");

template <class Word>
__device__ void copy_words(std::byte* to, const std::byte* from, std::size_t count, std::size_t first,
                           std::size_t step) {
  auto* const words_to = reinterpret_cast<Word*>(to);
  const auto* const words_from = reinterpret_cast<const Word*>(from);
  for (std::size_t i = first; i < count; i += step) words_to[i] = words_from[i];
}

__global__ void __launch_bounds__(kThreadsPerBlock) move_pieces(const __grid_constant__ Table table) {
  const Piece piece = table.pieces[blockIdx.y];
  const Words words =
      words_of(reinterpret_cast<std::uintptr_t>(piece.to), reinterpret_cast<std::uintptr_t>(piece.from), piece.bytes);
  const std::size_t first = static_cast<std::size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const std::size_t step = static_cast<std::size_t>(gridDim.x) * blockDim.x;
  std::byte* const to = piece.to + words.head;
  const std::byte* const from = piece.from + words.head;
  switch (words.width) {
    case 16: copy_words<uint4>(to, from, words.count, first, step); break;
    case 8: copy_words<uint2>(to, from, words.count, first, step); break;
    case 4: copy_words<unsigned>(to, from, words.count, first, step); break;
    default: copy_words<std::byte>(to, from, words.count, first, step); break;
  }
  // Head and tail have less than a word each; the first threads take them.
  if (first < words.head) piece.to[first] = piece.from[first];
  const std::size_t done = words.count * words.width;
  if (first < words.tail) to[done + first] = from[done + first];
}

}  // namespace

cudaError_t launch_move(std::span<const Piece> pieces, cudaStream_t stream) {
  Table table;
  std::size_t largest = 0;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    table.pieces[i] = pieces[i];
    largest = std::max(largest, pieces[i].bytes);
  }
  const dim3 grid(blocks_per_piece(largest), static_cast<unsigned>(pieces.size()));
  move_pieces<<<grid, kThreadsPerBlock, 0, stream>>>(table);
  return cudaGetLastError();
}

}  // namespace argosy::device
