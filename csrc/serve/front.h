#pragma once

// Front: the server's listeners and I/O loops: start, address, drain, stop.
//
// What it does not do: decide when the server is ready (set_state) or stop the engine.
// Requests still in the engine after stop() are answered to nobody.
//
// Thread: start(), drain() and stop() one at a time; the rest any.

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/bytes_pool.h"
#include "base/status.h"
#include "base/time.h"
#include "engine/engine.h"
#include "metrics/registry.h"
#include "serve/control.h"
#include "serve/front_options.h"
#include "shm/regions.h"

namespace argosy::serve {

class Front {
 public:
  // Everything given outlives the front; `engine` also every request in it. `regions`: memory
  // that clients have registered; null: they may not.
  Front(FrontOptions options, engine::Engine& engine, ControlHandler& control, metrics::Registry& metrics,
        const Clock& clock, BytesPool& pool = default_pool(), const shm::Regions* regions = nullptr);
  ~Front();  // stop()

  // All listeners or none: "Socket '127.0.0.1:8000' already in use".
  Status start();

  // What the system gave; 0: not served, or on a unix: path.
  std::uint16_t http_port() const;
  std::uint16_t grpc_port() const;
  std::uint16_t metrics_port() const;

  void set_state(bool live, bool ready);

  // Accepts no more, tells clients (Connection: close, GOAWAY), and waits until every
  // running request is answered and written. False: not by then. Metrics stay up.
  bool drain(TimePoint until);

  // Closes what is open and joins the loops. Idempotent.
  void stop();

  std::size_t running() const;           // requests taken and not answered
  std::size_t open_connections() const;  // metrics port included

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace argosy::serve
