#pragma once

// Services: what every connection of the server is given: the engine, the control
// handler, the metrics and the server's own state. One object for all connections of a loop.
//
// A protocol plugs in with one function,
//   std::unique_ptr<net::ConnectionHandler> make_<protocol>_connection(net::Connection&, Services&);
// that the front calls for each accepted connection.
//
// Thread: any; the options are immutable while connections exist.

#include <atomic>
#include <cstddef>
#include <memory>

#include "base/time.h"
#include "engine/engine.h"
#include "metrics/registry.h"
#include "serve/control.h"
#include "serve/front_options.h"
#include "serve/header_pattern.h"
#include "shm/courier.h"
#include "shm/regions.h"

namespace argosy::serve {

// Lone flags: each is read by itself and orders nothing.
struct ServerState {
  std::atomic<bool> live{true};
  std::atomic<bool> ready{false};
  std::atomic<bool> draining{false};
};

struct Services {
  const FrontOptions& options;
  const HeaderPattern& http_headers;  // which ones go on to the model
  const HeaderPattern& grpc_headers;
  engine::Engine& engine;
  ControlHandler& control;
  metrics::Registry& metrics;
  const Clock& clock;
  ServerState& state;
  // Requests accepted and not yet answered, all connections; shared, because the engine
  // may still hold some when the front is gone.
  std::shared_ptr<std::atomic<std::size_t>> running;
  engine::OwedWakes* wakes = nullptr;     // of this loop, which pays them between its steps; null: none are owed
  const shm::Regions* regions = nullptr;  // memory of clients; null: they may not share any
  std::shared_ptr<shm::Courier> courier;  // not null with `regions`
};

}  // namespace argosy::serve
