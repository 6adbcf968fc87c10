#pragma once

// Lifetime: when an HTTP/2 connection pings its client, winds down, or gives up.
//
// Pure policy, the keep-alive rules that gRPC servers share: ping a silent client and
// close if nothing comes back; refuse a client that pings too often; drain at a
// maximal age and close after a grace; drain when no stream was open for long.
// A rule set to kNever is off.
//
// Thread: one at a time; all time is passed in.

#include <cstdint>

#include "base/time.h"

namespace argosy::http2 {

inline constexpr Micros kNever = Micros::max();

struct LifetimeRules {
  Micros keepalive_time{7'200'000'000};            // silence before a ping
  Micros keepalive_timeout{20'000'000};            // silence after it before the connection is closed
  bool ping_without_streams = false;               // also ping, and be pinged, while no stream is open
  std::uint32_t max_pings_without_data = 2;        // ours in a row while we send nothing else; 0: any number
  Micros min_received_ping_interval{300'000'000};  // while we send no data
  std::uint32_t max_ping_strikes = 2;              // pings before that, forgiven; 0: all
  Micros first_frame_timeout{20'000'000};          // from the accept to the first bytes
  Micros max_age = kNever;
  Micros max_age_grace = kNever;  // from there to the end of the connection
  Micros max_idle = kNever;       // without an open stream
};

enum class LifetimeAction : std::uint8_t { wait, ping, drain, close };

class Lifetime {
 public:
  Lifetime(const LifetimeRules& rules, TimePoint now);

  struct Next {
    LifetimeAction action = LifetimeAction::wait;
    TimePoint wake;  // ask again then at the latest
  };
  // What to do now. An action is returned once; ask again until it is `wait`.
  Next next(TimePoint now);

  void on_received(TimePoint now);  // bytes came
  void on_sent_data();              // a head or payload left
  void on_streams(std::size_t open, TimePoint now);
  // False: the client pings too often; say ENHANCE_YOUR_CALM "too_many_pings" and close.
  bool on_ping(TimePoint now);

 private:
  const LifetimeRules rules_;
  TimePoint born_;
  TimePoint heard_;
  TimePoint pinged_;  // our ping, while `awaiting_`
  TimePoint idle_since_;
  TimePoint last_received_ping_;
  std::size_t streams_ = 0;
  std::uint32_t pings_sent_ = 0;  // since we sent data
  std::uint32_t strikes_ = 0;
  bool heard_any_ = false;
  bool awaiting_ = false;
  bool got_ping_ = false;  // since we sent data
  bool drained_ = false;
  bool aged_ = false;
};

}  // namespace argosy::http2
