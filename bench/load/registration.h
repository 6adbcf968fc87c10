#pragma once

// Registration: for as long as this lives, the server knows of our shared memory. Dropped,
// it is unregistered, however the program comes to its end; also when the registration
// failed, because an answer that was lost may have been a yes.
//
// Thread: one.

#include <cstddef>
#include <string>
#include <utility>

#include "base/status.h"
#include "load/control_client.h"
#include "load/exchange.h"

namespace argosy::load {

// Memory that the server is told of by a name: a POSIX shared memory object, or a block on
// a GPU.
struct SharedObject {
  std::string region;
  std::string key;  // of a POSIX object; empty: on a GPU
  std::size_t bytes = 0;
  std::string handle;  // on a GPU: the 64 bytes of a cudaIpcMemHandle_t
  int device = 0;      // on a GPU: which
};

Exchange register_exchange(bool grpc, const Target& target, const SharedObject& object);
Exchange unregister_exchange(bool grpc, const Target& target, const SharedObject& object);

class Registration {
 public:
  // `control` outlives this.
  Registration(ControlClient& control, bool grpc, Target target, SharedObject object)
      : control_(control), grpc_(grpc), target_(std::move(target)), object_(std::move(object)) {}
  ~Registration() { (void)end(); }  // whoever wants to know has called end()
  Registration(const Registration&) = delete;
  Registration& operator=(const Registration&) = delete;

  Status begin();
  Status end();  // idempotent

 private:
  ControlClient& control_;
  const bool grpc_;
  const Target target_;
  const SharedObject object_;
  bool begun_ = false;
};

}  // namespace argosy::load
