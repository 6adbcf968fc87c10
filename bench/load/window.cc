#include "load/window.h"

#include <algorithm>

namespace argosy::load {
namespace {

constexpr std::size_t kMostErrorTexts = 32;

}  // namespace

void Window::add_error(const std::string& text, std::uint64_t times) {
  failed += times;
  // A server that puts a number into each message must not fill our memory.
  const bool known = errors.contains(text) || errors.size() < kMostErrorTexts;
  errors[known ? text : "(other)"] += times;
}

void Window::merge(const Window& other) {
  latency.merge(other.latency);
  for (const auto& [text, times] : other.errors) add_error(text, times);
}

void WindowBoard::hand_in(std::size_t index, const Window& window) {
  auto state = state_.lock();
  if (state->windows.size() <= index) {
    state->windows.resize(index + 1);
    state->parts.resize(index + 1);
  }
  state->windows[index].merge(window);
  ++state->parts[index];
  changed_.notify_all();
}

void WindowBoard::finished() {
  auto state = state_.lock();
  ++state->finished;
  changed_.notify_all();
}

std::optional<Window> WindowBoard::wait_for(std::size_t index, TimePoint give_up) {
  auto state = state_.lock();
  for (;;) {
    const std::size_t parts = index < state->parts.size() ? state->parts[index] : 0;
    if (parts == threads_) return std::move(state->windows[index]);
    if (state->finished == threads_) {
      if (parts == 0) return std::nullopt;
      return std::move(state->windows[index]);
    }
    if (SteadyClock().now() >= give_up) return std::nullopt;
    state.wait_until(changed_, give_up);
  }
}

}  // namespace argosy::load
