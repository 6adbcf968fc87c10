#pragma once

// The kernel behind Stream::move(): one launch for up to kPiecesPerLaunch pieces, which
// travel as its arguments, so no descriptor has to be kept until it has run.
//
// Twin: device/pieces.h, move_on_host().
//
// Thread: as the stream's.

#include <cuda_runtime_api.h>

#include <span>

#include "device/pieces.h"

namespace argosy::device {

// At most kPiecesPerLaunch pieces, at least one.
cudaError_t launch_move(std::span<const Piece> pieces, cudaStream_t stream);

}  // namespace argosy::device
