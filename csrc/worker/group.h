#pragma once

// end_group: kills what is left of a process group, except its resource trackers.
//
// A tracker is a process in which Python's multiprocessing, or a library after its model,
// remembers named semaphores and shared memory. It reads a pipe, and unlinks what is left
// when nobody holds the other end any more: killed with the rest it would leave all of it
// for ever; spared it ends by itself, because the rest is gone.
//
// Invariant: nobody else gets the group's number meanwhile: the caller is a member, or has
// not reaped its leader.
// Thread: any, and a signal handler: takes no memory and no lock.

#include <sys/types.h>

namespace argosy::worker {

// Spares the calling process, too. Returns how many trackers there still are; where the
// group cannot be looked through, none is spared.
int end_group(pid_t group);

}  // namespace argosy::worker
