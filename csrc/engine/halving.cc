#include "engine/halving.h"

namespace argosy::engine {

bool Halving::helps(const Status& why, std::size_t requests) {
  return requests > 1 && (why.code() == StatusCode::invalid_argument || why.code() == StatusCode::internal);
}

std::optional<Halving::Part> Halving::next() {
  if (pending_.empty()) return std::nullopt;
  const Part part = pending_.back();
  pending_.pop_back();
  return part;
}

bool Halving::failed(Part part, const Status& why) {
  if (!helps(why, part.size())) return false;
  split(part);
  return true;
}

void Halving::split(Part part) {
  const std::size_t middle = part.begin + part.size() / 2;
  pending_.push_back({middle, part.end});
  pending_.push_back({part.begin, middle});
}

}  // namespace argosy::engine
