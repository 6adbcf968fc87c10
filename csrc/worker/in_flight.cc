#include "worker/in_flight.h"

#include <utility>

namespace argosy::worker {

class InFlight::Listener final : public infer::CancelListener {
 public:
  Listener(std::shared_ptr<const void> owner, std::atomic<std::uint32_t>& flag, Handle handle,
           std::function<void(Handle)> left)
      : owner_(std::move(owner)), flag_(flag), handle_(handle), left_(std::move(left)) {}
  void on_cancelled() override {
    flag_.store(generation_of(handle_), std::memory_order_release);
    if (left_) left_(handle_);
  }

 private:
  const std::shared_ptr<const void> owner_;
  std::atomic<std::uint32_t>& flag_;
  const Handle handle_;
  const std::function<void(Handle)> left_;
};

InFlight::InFlight(std::shared_ptr<const void> owner, std::span<std::atomic<std::uint32_t>> flags,
                   std::function<void(Handle)> left)
    : owner_(std::move(owner)), flags_(flags), left_(std::move(left)) {
  auto state = state_.lock();
  state->entries.resize(flags_.size());
  for (std::size_t i = flags_.size(); i > 0; --i) state->free.push_back(static_cast<std::uint32_t>(i - 1));
}

InFlight::~InFlight() { close(unavailable("the model's worker process is gone")); }

std::optional<Handle> InFlight::add(infer::Request& request) {
  Handle handle = 0;
  {
    auto state = state_.lock();
    if (state->closed || state->free.empty()) return {};
    const std::uint32_t slot = state->free.back();
    state->free.pop_back();
    Entry& entry = state->entries[slot];
    entry.used = true;
    if (++entry.generation == 0) ++entry.generation;
    entry.cancellation = request.cancellation;
    handle = static_cast<Handle>(entry.generation) << 32 | slot;
  }
  if (request.cancellation) {
    request.cancellation->listen(std::make_shared<Listener>(owner_, flags_[slot_of(handle)], handle, left_));
  }
  return handle;
}

InFlight::Entry* InFlight::find(State& state, Handle handle) {
  if (slot_of(handle) >= state.entries.size()) return nullptr;
  Entry& entry = state.entries[slot_of(handle)];
  return entry.used && entry.generation == generation_of(handle) ? &entry : nullptr;
}

infer::RequestPtr InFlight::release(State& state, Handle handle) {
  Entry* const entry = find(state, handle);
  if (entry == nullptr) return nullptr;
  entry->used = false;
  entry->early.reset();
  entry->cancellation.reset();
  state.free.push_back(slot_of(handle));
  return std::move(entry->request);
}

std::optional<infer::Response> InFlight::keep(Handle handle, infer::RequestPtr& request) {
  std::optional<infer::Response> early;
  std::shared_ptr<infer::Cancellation> listened;
  {
    auto state = state_.lock();
    Entry* const entry = find(*state, handle);
    if (entry == nullptr || state->closed) {
      return infer::Response{unavailable("the model's worker process is gone"), {}, {}};
    }
    if (!entry->early) {
      entry->request = std::move(request);
      return {};
    }
    early = std::move(entry->early);
    listened = std::move(entry->cancellation);
    release(*state, handle);
  }
  if (listened) listened->listen(nullptr);
  return early;
}

void InFlight::settle(Handle handle) {
  std::shared_ptr<infer::Cancellation> listened;
  {
    auto state = state_.lock();
    if (Entry* const entry = find(*state, handle)) listened = entry->cancellation;
    release(*state, handle);
  }
  if (listened) listened->listen(nullptr);
}

void InFlight::respond(Handle handle, std::optional<infer::Response> response, bool last, bool decoupled,
                       const Fit& fit) {
  infer::RequestPtr finished;
  infer::Request* streaming = nullptr;
  {
    auto state = state_.lock();
    Entry* const entry = find(*state, handle);
    if (entry == nullptr) return;
    if (!entry->request) {
      if (decoupled || entry->early) return;
      entry->early = response ? std::move(*response)
                              : infer::Response{internal_error("the model closed the response sender without a "
                                                               "response, expected exactly one"),
                                                {},
                                                {}};
      return;
    }
    if (last || !decoupled) {
      finished = release(*state, handle);
    } else {
      streaming = entry->request.get();
    }
  }
  if (streaming != nullptr) {
    if (!response) return;
    fit(*streaming, *response);
    return streaming->reply.stream(std::move(*response));
  }
  if (finished->cancellation) finished->cancellation->listen(nullptr);
  if (!response && !decoupled) {
    response = infer::Response{internal_error("the model closed the response sender without a response, expected "
                                              "exactly one"),
                               {},
                               {}};
  }
  if (response) fit(*finished, *response);
  std::move(finished->reply).finish(response ? std::move(*response) : infer::Response{});
}

infer::RequestPtr InFlight::take(Handle handle) {
  infer::RequestPtr taken;
  {
    auto state = state_.lock();
    const Entry* const entry = find(*state, handle);
    if (entry == nullptr || !entry->request) return nullptr;
    taken = release(*state, handle);
  }
  if (taken->cancellation) taken->cancellation->listen(nullptr);
  return taken;
}

void InFlight::close(const Status& why) {
  std::vector<infer::RequestPtr> kept;
  {
    auto state = state_.lock();
    state->closed = true;
    for (std::size_t slot = 0; slot < state->entries.size(); ++slot) {
      Entry& entry = state->entries[slot];
      if (!entry.used || !entry.request) continue;
      kept.push_back(release(*state, static_cast<Handle>(entry.generation) << 32 | slot));
    }
  }
  for (auto& request : kept) {
    if (request->cancellation) request->cancellation->listen(nullptr);
    std::move(request->reply).finish({why, {}, {}});
  }
}

std::size_t InFlight::kept() const {
  auto state = state_.lock();
  std::size_t count = 0;
  for (const auto& entry : state->entries) count += entry.request != nullptr;
  return count;
}

}  // namespace argosy::worker
