#include "http2/landing.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <new>
#include <utility>

namespace argosy::http2 {
namespace {

// Less is not worth places of its own: a copy is cheaper.
constexpr std::size_t kLeastGuessed = 4u << 10;

}  // namespace

std::span<const Landing::Place> Landing::plan(const Session& session, Place rest) {
  places_.clear();
  guessed_ = 0;
  stream_ = 0;
  offers_rest_ = true;
  const FrameWalk& input = session.input();
  if (input.data()) {
    Buffer unfilled = session.unfilled(input.stream());
    std::byte* at = unfilled.data();
    std::size_t free = unfilled.capacity();
    const std::size_t sure = std::min({input.left(), free, kMostBytes});
    if (free > 0) stream_ = input.stream();
    if (sure > 0) places_.emplace_back(at, sure);
    at += sure;
    free -= sure;
    // As much may be guessed as is sure, or as has come in frames alike: then most bytes gain even if it is wrong.
    std::size_t most = std::min(kMostBytes - sure, std::max(sure, input.alike() * input.length()));
    if (sure < input.left() || most < kLeastGuessed || input.length() < kLeastGuessed) most = 0;
    while (free > 0 && most > 0 && guessed_ < kMostGuessed) {
      const std::size_t head = places_.empty() ? input.head_left() : FrameWalk::kHeadBytes;
      const std::size_t part = std::min({input.length(), free, most});
      places_.emplace_back(heads_.data() + guessed_ * FrameWalk::kHeadBytes, head);
      places_.emplace_back(at, part);
      at += part;
      free -= part;
      most -= part;
      ++guessed_;
    }
    // Behind less than the whole message `rest` would only take what has room.
    offers_rest_ = free == 0 || (guessed_ == 0 && sure < kMostBytes);
  }
  if (offers_rest_) places_.push_back(rest);
  return places_;
}

bool Landing::is_head(Place place) const {
  const std::less_equal<const std::byte*> not_after;
  return not_after(heads_.data(), place.data()) &&
         not_after(place.data() + place.size(), heads_.data() + heads_.size());
}

Landing::Landed Landing::receive(Session& session, std::size_t count, const Buffer& rest, BytesPool& pool) {
  if (stream_ == 0) return {session.receive(rest.written(0, count)), count};
  // Whatever becomes of the stream meanwhile, the bytes that came stay readable.
  const Buffer held = session.unfilled(stream_);
  for (std::size_t i = 0; i < places_.size() && count > 0; ++i) {
    const Place place = places_[i];
    const std::size_t size = std::min(count, place.size());
    const FrameWalk& input = session.input();
    count -= size;
    if (offers_rest_ && i + 1 == places_.size()) return {session.receive(rest.written(0, size)), size};
    if (is_head(place)) {
      if (input.left() > 0) return move_and_receive(session, i, 0, size + count, pool);
      if (!session.receive({nullptr, place.data(), size})) return {false, 0};
      continue;
    }
    const bool expected = input.data() && input.stream() == stream_;
    Buffer unfilled = expected ? session.unfilled(stream_) : Buffer();
    const std::size_t lies_right =
        unfilled.data() == place.data() ? std::min({size, input.left(), unfilled.capacity()}) : std::size_t{0};
    if (lies_right > 0 && !session.receive(unfilled.written(0, lies_right))) return {false, 0};
    if (lies_right < size) return move_and_receive(session, i, lies_right, size - lies_right + count, pool);
  }
  return {};
}

// The bytes lie where others belong: they are taken away before anything is put there.
Landing::Landed Landing::move_and_receive(Session& session, std::size_t index, std::size_t offset, std::size_t count,
                                          BytesPool& pool) {
  Buffer block = pool.allocate(count);
  if (!block) block = default_pool().allocate(count);
  if (!block) throw std::bad_alloc();
  for (std::size_t moved = 0; moved < count; ++index) {
    const Place place = places_[index].subspan(std::exchange(offset, 0));
    const std::size_t part = std::min(count - moved, place.size());
    std::memcpy(block.data() + moved, place.data(), part);
    moved += part;
  }
  return {session.receive(std::move(block).freeze(count)), 0};
}

}  // namespace argosy::http2
