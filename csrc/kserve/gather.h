#pragma once

// Gather: an encoded message as slices to be written one after another, so that
// tensor bytes leave from where the model put them.
//
// Thread: a value; any.

#include <cstddef>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace argosy::kserve {

struct Gather {
  std::vector<Bytes> pieces;
  std::size_t size = 0;  // of all pieces

  void add(Bytes piece) {
    if (piece.empty()) return;
    size += piece.size();
    pieces.push_back(std::move(piece));
  }
  // All pieces in one string; for tests and for peers that need it whole.
  std::string joined() const {
    std::string out;
    out.reserve(size);
    for (const Bytes& piece : pieces) out += piece.view();
    return out;
  }
};

}  // namespace argosy::kserve
