#pragma once

// Landing: where a connection should receive its next bytes, so that the payload of a
// large message lies where it belongs and is copied by the kernel alone.
//
// What is left of a DATA frame goes into its stream's room. Large messages come as a
// row of frames alike, so a plan goes on with nine bytes for the next head and room for
// as much payload, and so on, all of which one readv fills. It guesses no more than has
// proven right: a wrong guess costs one copy of the bytes behind it, nothing else.
// Padded frames and messages without room take the other way: `rest`, then a copy.
//
// Sans-I/O, like the session it feeds.
//
// Thread: one at a time. A plan holds good until its session is told anything; one
// Landing may serve many sessions, one plan after the other.

#include <array>
#include <cstddef>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/bytes_pool.h"
#include "http2/frame_walk.h"
#include "http2/session.h"

namespace argosy::http2 {

class Landing {
 public:
  using Place = std::span<std::byte>;
  static constexpr std::size_t kMostPlaces = 130;
  static constexpr std::size_t kMostBytes = 1u << 20;  // of payload in one plan

  // The places for the next bytes, to be filled in this order; never none if `rest`,
  // which is for what no stream has room for, is not empty.
  std::span<const Place> plan(const Session& session, Place rest);
  // Whether `rest` is among them.
  bool offers_rest() const { return offers_rest_; }

  struct Landed {
    bool alive = true;          // as Session::receive() says
    std::size_t rest_used = 0;  // bytes of `rest` that slices may refer to
  };
  // The first `count` bytes of the places were filled. `rest` is the plan's with its
  // owner; `pool` gives memory for what was guessed wrong.
  Landed receive(Session& session, std::size_t count, const Buffer& rest, BytesPool& pool);

 private:
  static constexpr std::size_t kMostGuessed = 64;  // frames

  bool is_head(Place place) const;
  Landed move_and_receive(Session& session, std::size_t index, std::size_t offset, std::size_t count, BytesPool& pool);

  std::vector<Place> places_;
  std::array<std::byte, kMostGuessed * FrameWalk::kHeadBytes> heads_{};
  std::size_t guessed_ = 0;
  StreamId stream_ = 0;
  bool offers_rest_ = false;
};

}  // namespace argosy::http2
