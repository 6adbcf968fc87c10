#include "load/measurement.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <memory>
#include <thread>

namespace argosy::load {
namespace {

using namespace std::chrono_literals;

// What a boundary between two windows looks like from outside.
struct Boundary {
  TimePoint when;
  std::optional<ServerStatistics> statistics;
  std::optional<ProcessUsage> server;
  double client_cpu_s = 0;
  double machine_cpu_s = 0;
};

Boundary look(ControlClient* control, std::optional<pid_t> server) {
  Boundary seen;
  if (control != nullptr) {
    if (auto statistics = control->statistics(); statistics.ok()) seen.statistics = *statistics;
  }
  if (server) seen.server = usage_of_tree(*server);
  seen.client_cpu_s = own_cpu_s();
  seen.machine_cpu_s = machine_cpu_s();
  seen.when = SteadyClock().now();
  return seen;
}

WindowFigures figures_of(const Window& window, double seconds, double percentile) {
  return {static_cast<double>(window.latency.count()) / seconds,
          static_cast<double>(window.latency.percentile(percentile)) / 1000.0};
}

double seconds_of(Nanos time) { return std::chrono::duration<double>(time).count(); }

// Splits n over `parts`, the first ones getting one more.
std::uint32_t share(std::uint64_t n, std::uint64_t parts, std::uint64_t part) {
  return static_cast<std::uint32_t>(n / parts + (part < n % parts ? 1 : 0));
}

class Senders {
 public:
  Senders(SendPlan plan, const Load& load, const MeasureRules& rules, std::size_t threads) : board(threads) {
    const std::uint32_t connections = plan.connections;
    for (std::size_t i = 0; i < threads; ++i) {
      SendPlan part = plan;
      part.connections = share(connections, threads, i);
      part.rate = load.rate / static_cast<double>(threads);
      part.seed = plan.seed * 1'000'003 + i;
      part.budget = rules.count == 0 ? 0 : std::max<std::uint64_t>(share(rules.count, threads, i), 1);
      senders_.push_back(std::make_unique<Sender>(std::move(part), board));
    }
    for (auto& sender : senders_) threads_.emplace_back([&one = *sender] { one.run(); });
  }

  std::uint64_t stop() {
    for (auto& sender : senders_) sender->stop();
    threads_.clear();
    std::uint64_t unanswered = 0;
    for (auto& sender : senders_) unanswered += sender->unanswered();
    return unanswered;
  }

  WindowBoard board;

 private:
  std::vector<std::unique_ptr<Sender>> senders_;
  std::vector<std::jthread> threads_;
};

// Waits in short steps, so that an interrupt is seen.
std::optional<Window> wait_for(WindowBoard& board, std::size_t index, TimePoint give_up,
                               const std::atomic<bool>& interrupted) {
  const SteadyClock clock;
  while (!interrupted) {
    const TimePoint now = clock.now();
    if (auto window = board.wait_for(index, std::min(give_up, now + 100ms))) return window;
    if (now >= give_up) return std::nullopt;
  }
  return std::nullopt;
}

void tell_difference(Measured& to, const Boundary& from, const Boundary& until) {
  to.seconds = seconds_of(until.when - from.when);
  to.client_cpu_s = until.client_cpu_s - from.client_cpu_s;
  to.machine_cpu_s = until.machine_cpu_s - from.machine_cpu_s;
  if (from.statistics && until.statistics) to.statistics = until.statistics->minus(*from.statistics);
  if (from.server && until.server) {
    to.server_usage = until.server;
    to.server_usage->cpu_s -= from.server->cpu_s;
  }
}

}  // namespace

double spread_of(const std::vector<WindowFigures>& windows, double WindowFigures::*figure) {
  double sum = 0;
  for (const auto& window : windows) sum += window.*figure;
  if (windows.empty() || sum == 0) return 0;
  const double mean = sum / static_cast<double>(windows.size());
  double worst = 0;
  for (const auto& window : windows) worst = std::max(worst, std::abs(window.*figure - mean) / mean);
  return worst;
}

bool is_stable(const std::vector<WindowFigures>& last, const MeasureRules& rules) {
  if (last.size() < rules.windows) return false;
  const bool silent = std::any_of(last.begin(), last.end(), [](const auto& w) { return w.rps == 0; });
  return !silent && spread_of(last, &WindowFigures::rps) <= rules.stability &&
         spread_of(last, &WindowFigures::latency_us) <= rules.stability;
}

Measured measure(SendPlan plan, const Load& load, const MeasureRules& rules, ControlClient* control,
                 std::optional<pid_t> server, const std::atomic<bool>& interrupted) {
  Measured result;
  result.load = load;
  result.connections = plan.connections;
  result.streams = plan.streams;
  const bool by_count = rules.count != 0;
  plan.start = SteadyClock().now() + 1ms;
  // A count is one long window without a warm-up: every request is in it.
  plan.warm_up = by_count ? rules.limit : rules.warm_up;
  plan.window = by_count ? rules.limit : rules.window;
  const TimePoint start = plan.start;
  const std::size_t threads = std::clamp<std::size_t>(rules.threads, 1, plan.connections);

  if (by_count) {
    const Boundary before = look(control, server);
    Senders senders(std::move(plan), load, rules, threads);
    auto window = wait_for(senders.board, 0, start + rules.limit + 100ms, interrupted);
    const Boundary after = look(control, server);
    result.unanswered = senders.stop();
    if (!window) window = senders.board.wait_for(0, SteadyClock().now() + 1s);
    tell_difference(result, before, after);
    if (window) result.total.merge(*window);
    result.windows.push_back(figures_of(result.total, result.seconds, rules.percentile));
    result.interrupted = interrupted;
    result.stable = !interrupted && result.unanswered == 0;
    return result;
  }

  Senders senders(std::move(plan), load, rules, threads);
  std::deque<Window> last;
  std::deque<Boundary> boundaries;
  std::deque<WindowFigures> figures;
  for (std::size_t index = 0; index <= rules.max_windows; ++index) {
    const TimePoint end = start + rules.warm_up + static_cast<int>(index) * rules.window;
    auto window = wait_for(senders.board, index, end + 5s, interrupted);
    if (!window) break;
    boundaries.push_back(look(control, server));
    if (index == 0) continue;
    last.push_back(std::move(*window));
    figures.push_back(figures_of(last.back(), seconds_of(rules.window), rules.percentile));
    if (last.size() > rules.windows) {
      last.pop_front();
      figures.pop_front();
      boundaries.pop_front();
    }
    result.stable = is_stable({figures.begin(), figures.end()}, rules);
    if (result.stable) break;
  }
  result.unanswered = senders.stop();
  result.interrupted = interrupted;
  result.windows.assign(figures.begin(), figures.end());
  for (const Window& window : last) result.total.merge(window);
  if (last.empty()) {
    // Interrupted before the first window was full: what there is, warm-up included.
    result.seconds = seconds_of(SteadyClock().now() - start);
    for (std::size_t index = boundaries.size(); auto part = senders.board.wait_for(index, SteadyClock().now());
         ++index) {
      result.total.merge(*part);
    }
    return result;
  }
  tell_difference(result, boundaries.front(), boundaries.back());
  // Windows are cut by the senders' clock; boundaries are looked at a little later.
  result.seconds = seconds_of(rules.window) * static_cast<double>(last.size());
  return result;
}

}  // namespace argosy::load
