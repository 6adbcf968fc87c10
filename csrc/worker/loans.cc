#include "worker/loans.h"

#include <algorithm>
#include <utility>

namespace argosy::worker {

std::optional<Arena::Place> Loans::lend(const Bytes& bytes) {
  const auto place = arena_->show(bytes);
  if (!place) return {};
  auto state = state_.lock();
  if (state->ended) return place;  // nobody will look
  const auto [found, first] = state->by_block.try_emplace(place->block);
  Loan& loan = found->second;
  if (first) loan = {bytes.owner(), place->offset, place->offset, 0};
  loan.begin = std::min(loan.begin, place->offset);
  loan.end = std::max<std::uint64_t>(loan.end, place->offset + bytes.size());
  ++loan.count;
  return place;
}

bool Loans::returned(std::uint64_t block) {
  std::shared_ptr<const void> dropped;  // not under the lock
  auto state = state_.lock();
  const auto found = state->by_block.find(block);
  if (found == state->by_block.end()) return state->ended;
  if (--found->second.count != 0) return true;
  dropped = std::move(found->second.owner);
  state->by_block.erase(found);
  return true;
}

std::optional<Bytes> Loans::borrow(std::uint64_t offset, std::size_t size) const {
  auto state = state_.lock();
  auto found = state->by_block.upper_bound(offset);
  if (found == state->by_block.begin()) return {};
  const Loan& loan = (--found)->second;
  if (offset < loan.begin || offset > loan.end || size > loan.end - offset) return {};
  return Bytes(loan.owner, arena_->at(offset), size);
}

void Loans::end() {
  std::map<std::uint64_t, Loan> dropped;  // not under the lock
  auto state = state_.lock();
  state->ended = true;
  dropped.swap(state->by_block);
}

}  // namespace argosy::worker
