#pragma once

// Channel: the server's end of what it shares with one worker process: rings, arenas
// and cancellation flags. ring.h, wire.h and worker.cc have the messages. The arena of
// inputs is the model's, which all its workers see; what this worker holds of it is here.
//
// Control memory, one page of head: u32 'ARGW', u32 version, u32 slots, u32 rings, then
// each ring's capacity (u32), then the number of windows (u32). Then the flags, u32 per
// slot, then the rings, each beginning on a page: work and results (one batch at a time),
// calls (worker to server) and returns (server to worker), and the blocks that either
// side let go of; then the windows (windows.h).
//
// Thread: each function says whose.

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/guarded.h"
#include "base/status.h"
#include "worker/arena.h"
#include "worker/loans.h"
#include "worker/message.h"
#include "worker/process.h"
#include "worker/ring.h"
#include "worker/windows.h"
#include "worker/wire.h"

namespace argosy::worker {

inline constexpr std::uint32_t kSlots = 4096;

class Channel : public std::enable_shared_from_this<Channel> {
 public:
  // `output_bytes`: of the arena that the worker allocates from.
  static Result<std::shared_ptr<Channel>> create(const std::string& name, std::shared_ptr<Arena> inputs,
                                                 std::size_t output_bytes);

  // 3, 4, 5, ... of the worker: control memory, the model's arena, the worker's arena, the event of `calls`.
  std::vector<int> descriptors() const;
  const Descriptor& event() const { return event_; }  // readable: look at calls
  std::shared_ptr<const void> memory() const { return control_; }
  std::span<std::atomic<std::uint32_t>> flags() const;
  std::span<Windows::Slot> windows() const;

  // Tensors of one message. The end of a tensor of the worker's is told to it.
  Exchange exchange();
  void take_back(const std::vector<std::uint64_t>& lent);  // of a message that was not sent

  // Any thread. False: too long for the ring, and the arena is full.
  bool send_return(Writer& message);
  // The keeper's. False: some did not fit yet.
  bool flush_returns();

  // The runner's, but the first message is the keeper's before there is a runner.
  Status send_work(Writer& message);
  RingReader& results() { return results_; }
  RingReader& calls() { return calls_; }  // of whose turn it is (worker/turn.h)

  // A record as it was sent, wherever it travelled. internal: nonsense.
  Result<Bytes> open(std::string record);

  // Blocks that the worker let go of. False: it said nonsense. Any thread.
  bool collect_returned();
  // The process is gone, and holds nothing. Any thread.
  void end() { ours_.end(); }

 private:
  struct Returns {
    RingWriter ring;
    std::deque<std::string> waiting;
  };
  struct Released {
    RingWriter ring;
    std::vector<std::uint64_t> waiting;
  };

  Channel(std::shared_ptr<SharedMemory> control, std::shared_ptr<Arena> inputs, PeerArena theirs, Descriptor event);
  void released(std::uint64_t block);
  bool spill(Writer& message);

  const std::shared_ptr<SharedMemory> control_;
  Loans ours_;
  const PeerArena theirs_;
  const Descriptor event_;
  RingWriter work_;
  RingReader results_, calls_;
  Guarded<Returns> returns_;
  Guarded<RingReader> returned_;
  Guarded<Released> released_;
};

}  // namespace argosy::worker
