#pragma once

// settle: waits until a stream has done all it holds, for whoever must know that before
// memory changes hands after something has failed. A device in passing trouble is asked
// again; one that never says so may still be using what it was given.
//
// Thread: the stream's own, which it blocks.

#include "base/status.h"
#include "device/device.h"

namespace argosy::device {

// `event`: for this alone; made beforehand, because making one can fail too. Not ok:
// whether the work is over is not known.
Status settle(Stream& stream, Event& event);

}  // namespace argosy::device
