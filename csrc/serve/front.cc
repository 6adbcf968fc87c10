#include "serve/front.h"

#include <algorithm>
#include <condition_variable>
#include <optional>
#include <set>
#include <utility>

#include "base/guarded.h"
#include "kserve/path.h"
#include "net/event_loop.h"
#include "net/listener.h"
#include "serve/grpc_connection.h"
#include "serve/http_connection.h"
#include "serve/services.h"

namespace argosy::serve {
namespace {

constexpr auto kLookAgain = std::chrono::milliseconds(2);  // while draining

// `text`, for messages: "restricted api" or "restricted protocol".
Status check_restrictions(const std::vector<RestrictedApi>& rules, const std::string& text) {
  std::set<std::string> seen;
  for (const RestrictedApi& rule : rules) {
    if (!kserve::parse_api(rule.category)) return invalid_argument("unknown " + text + " '" + rule.category + "'");
    if (!seen.insert(rule.category).second) {
      return invalid_argument(text + " '" + rule.category + "' can not be specified in multiple config groups");
    }
    if (rule.key.empty()) return invalid_argument(text + " '" + rule.category + "': the header's name is empty");
  }
  return {};
}

using MakeHandler = std::unique_ptr<net::ConnectionHandler> (*)(net::Connection&, Services&);

// One port: its sockets, one per loop, and who talks on it.
struct Endpoint {
  net::ListenOptions where;
  net::Listening first;
  std::shared_ptr<net::TlsContext> tls;
  MakeHandler make = nullptr;
  bool drains = true;
};

}  // namespace

struct Front::Parts {
  struct Loop {
    std::unique_ptr<engine::OwedWakes> wakes = std::make_unique<engine::OwedWakes>();
    std::unique_ptr<Services> services;
    std::unique_ptr<net::EventLoop> loop;
    std::vector<std::unique_ptr<net::Listener>> listeners;  // in the order of `endpoints`
  };

  Parts(FrontOptions o, engine::Engine& e, ControlHandler& c, metrics::Registry& m, const Clock& k, BytesPool& p,
        const shm::Regions* r)
      : options(std::move(o)), clock(k), pool(p), services{options, http_headers, grpc_headers, e, c, m,
                                                           k,       state,        running} {
    services.regions = r;
    if (r != nullptr) services.courier = std::make_shared<shm::Courier>();
  }

  Status open();
  Status add(const EndpointOptions& where, const TlsFiles& tls, const std::vector<std::string>& alpn, MakeHandler make,
             std::optional<std::size_t>& place);
  Status start_loop(Loop& at, bool first);
  std::uint16_t port(const std::optional<std::size_t>& place) const { return place ? ports[*place] : std::uint16_t{0}; }

  const FrontOptions options;
  const Clock& clock;
  BytesPool& pool;
  HeaderPattern http_headers, grpc_headers;
  ServerState state;
  std::shared_ptr<std::atomic<std::size_t>> running = std::make_shared<std::atomic<std::size_t>>(0);
  Services services;
  std::vector<Endpoint> endpoints;
  std::vector<std::uint16_t> ports;
  std::optional<std::size_t> http, grpc, metrics;
  std::vector<Loop> loops;
  bool started = false;
};

Status Front::Parts::add(const EndpointOptions& where, const TlsFiles& tls, const std::vector<std::string>& alpn,
                         MakeHandler make, std::optional<std::size_t>& place) {
  if (!where.enabled) return {};
  Endpoint endpoint;
  endpoint.where = {where.address, where.port, where.reuse_port, 1024};
  endpoint.make = make;
  if (!tls.certificate.empty()) {
    auto context = net::TlsContext::load({tls.certificate, tls.key, tls.client_ca, tls.mutual, alpn}, clock);
    if (!context.ok()) return context.status();
    endpoint.tls = std::move(*context);
  }
  auto listening = net::listen_on(endpoint.where);
  if (!listening.ok()) return listening.status();
  endpoint.first = std::move(*listening);
  place = endpoints.size();
  ports.push_back(endpoint.first.port);
  endpoints.push_back(std::move(endpoint));
  return {};
}

Status Front::Parts::start_loop(Loop& at, bool first) {
  auto loop = net::EventLoop::create(clock);
  if (!loop.ok()) return loop.status();
  at.loop = std::move(*loop);
  at.loop->after_steps([wakes = at.wakes.get()] {
    if (wakes->any()) wakes->pay();
  });
  at.services = std::make_unique<Services>(services);
  at.services->wakes = at.wakes.get();
  const Limits& limits = options.limits;
  for (Endpoint& endpoint : endpoints) {
    net::ListenerOptions settings;
    settings.max_connections = limits.max_connections;
    settings.connection.write_stall = limits.write_timeout;
    net::Descriptor socket;
    if (first) {
      socket = endpoint.first.socket.duplicate();
      if (!socket) return resource_exhausted("no descriptor for a listener");
    } else {
      auto beside = net::listen_beside(endpoint.first, endpoint.where);
      if (!beside.ok()) return beside.status();
      socket = std::move(beside->socket);
    }
    at.listeners.push_back(std::make_unique<net::Listener>(
        *at.loop, std::move(socket), settings, endpoint.tls, pool,
        [beside = at.services.get(), make = endpoint.make](const net::IoToken&, net::Connection& connection) {
          return make(connection, *beside);
        }));
  }
  return {};
}

Status Front::Parts::open() {
  for (const Status& checked : {check_restrictions(options.http_restricted, "restricted api"),
                                check_restrictions(options.grpc_restricted, "restricted protocol")}) {
    if (!checked.ok()) return checked;
  }
  auto http_pattern = HeaderPattern::parse(options.http_header_forward_pattern);
  if (!http_pattern.ok()) return http_pattern.status();
  auto grpc_pattern = HeaderPattern::parse(options.grpc_header_forward_pattern);
  if (!grpc_pattern.ok()) return grpc_pattern.status();
  http_headers = std::move(*http_pattern);
  grpc_headers = std::move(*grpc_pattern);

  if (Status s = add(options.http, options.http_tls, {"http/1.1"}, make_http_connection, http); !s.ok()) return s;
  if (Status s = add(options.grpc, options.grpc_tls, {"h2"}, make_grpc_connection, grpc); !s.ok()) return s;
  if (Status s = add(options.metrics, {}, {}, make_metrics_connection, metrics); !s.ok()) return s;
  if (metrics) endpoints[*metrics].drains = false;

  loops.resize(std::max<std::uint32_t>(1, options.io_threads));
  for (std::size_t i = 0; i < loops.size(); ++i) {
    if (Status s = start_loop(loops[i], i == 0); !s.ok()) return s;
  }
  // The first sockets live on in the first loop's listeners.
  for (Endpoint& endpoint : endpoints) endpoint.first.socket.close();
  Status problem;
  for (std::size_t i = 0; i < loops.size(); ++i) {
    Loop& at = loops[i];
    if (Status s = at.loop->start("argosy-io-" + std::to_string(i)); !s.ok()) return s;
    at.loop->run_there([&](const net::IoToken& io) {
      for (const auto& listener : at.listeners) {
        if (const Status s = listener->start(io); !s.ok()) problem = s;
      }
    });
  }
  return problem;
}

Front::Front(FrontOptions options, engine::Engine& engine, ControlHandler& control, metrics::Registry& metrics,
             const Clock& clock, BytesPool& pool, const shm::Regions* regions)
    : parts_(std::make_unique<Parts>(std::move(options), engine, control, metrics, clock, pool, regions)) {}

Front::~Front() { stop(); }

Status Front::start() {
  if (parts_->started) return already_exists("the front has been started");
  parts_->started = true;
  Status opened = parts_->open();
  if (!opened.ok()) stop();
  return opened;
}

std::uint16_t Front::http_port() const { return parts_->port(parts_->http); }
std::uint16_t Front::grpc_port() const { return parts_->port(parts_->grpc); }
std::uint16_t Front::metrics_port() const { return parts_->port(parts_->metrics); }

void Front::set_state(bool live, bool ready) {
  parts_->state.live.store(live, std::memory_order_relaxed);
  parts_->state.ready.store(ready, std::memory_order_relaxed);
}

bool Front::drain(TimePoint until) {
  Parts& at = *parts_;
  at.state.ready.store(false, std::memory_order_relaxed);
  at.state.draining.store(true, std::memory_order_relaxed);
  for (Parts::Loop& each : at.loops) {
    each.loop->run_there([&](const net::IoToken& io) {
      for (std::size_t i = 0; i < each.listeners.size(); ++i) {
        if (at.endpoints[i].drains) each.listeners[i]->drain(io);
      }
    });
  }
  // A look now and then is cheaper than a signal from every connection that closes.
  Guarded<bool> nobody(false);
  std::condition_variable never;
  auto held = nobody.lock();
  for (;;) {
    std::size_t left = running();
    for (const Parts::Loop& each : at.loops) {
      for (std::size_t i = 0; i < each.listeners.size(); ++i) {
        if (at.endpoints[i].drains) left += each.listeners[i]->open_connections();
      }
    }
    if (left == 0) return true;
    const TimePoint now = at.clock.now();
    if (now >= until) return false;
    held.wait_until(never, std::min<TimePoint>(until, SteadyClock().now() + kLookAgain));
  }
}

void Front::stop() {
  for (Parts::Loop& each : parts_->loops) {
    if (!each.loop) continue;
    each.loop->post([&](const net::IoToken& io) {
      for (const auto& listener : each.listeners) listener->close_all(io);
    });
    each.loop->stop();
  }
  parts_->loops.clear();
  // What it carries goes to an engine that is there, or to mailboxes that are closed.
  if (parts_->services.courier) parts_->services.courier->stop();
}

std::size_t Front::running() const { return parts_->running->load(std::memory_order_acquire); }

std::size_t Front::open_connections() const {
  std::size_t open = 0;
  for (const Parts::Loop& each : parts_->loops) {
    for (const auto& listener : each.listeners) open += listener->open_connections();
  }
  return open;
}

}  // namespace argosy::serve
