// The batcher against a plain model of it that keeps everything in one vector and
// works each decision out anew. Whatever arrives, in whatever order it is asked:
// nothing is lost, repeated, reordered within a level, over the limit, of mixed
// shapes, kept past its delay or kept past its deadline.

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "sched/dynamic_batcher.h"
#include "sched/queued.h"

namespace argosy::sched {
namespace {

struct Known {
  std::string id;
  std::uint32_t level = 0, rows = 1;
  std::int64_t width = 0;
  bool with_optional = false, cancelled = false;
  TimePoint arrived, deadline, patience = TimePoint::max();
  std::shared_ptr<infer::Cancellation> cancellation;
};

class PlainBatcher {
 public:
  explicit PlainBatcher(const model::ModelSpec& spec) : spec_(spec), rules_(*spec.batching) {}

  const model::QueuePolicy& policy(std::uint32_t level) const {
    const auto own = rules_.level_policies.find(level);
    return own == rules_.level_policies.end() ? rules_.default_policy : own->second;
  }

  bool full(std::uint32_t level, TimePoint now) const {
    const auto limit = policy(level).max_queue_size;
    const auto same = [&](const Known& k) { return k.level == level && k.deadline > now; };
    return limit > 0 && std::count_if(queue.begin(), queue.end(), same) >= limit;
  }

  void add(Known item) {
    const auto& rules = policy(item.level);
    if (rules.default_timeout > 0us) {
      const TimePoint due = item.arrived + rules.default_timeout;
      if (rules.timeout_action == model::TimeoutAction::reject) {
        item.deadline = std::min(item.deadline, due);
      } else {
        item.patience = due;
      }
    }
    queue.push_back(std::move(item));
  }

  // The order of the walk at `now`.
  std::vector<Known> runnable(TimePoint now) const {
    std::vector<Known> out;
    for (const Known& k : queue) {
      if (k.deadline > now && !k.cancelled) out.push_back(k);
    }
    std::stable_sort(out.begin(), out.end(), [&](const Known& a, const Known& b) {
      return std::pair(a.level, a.patience <= now) < std::pair(b.level, b.patience <= now);
    });
    return out;
  }

  // How many of runnable() run now; 0 with a time: wait until then.
  std::pair<std::size_t, TimePoint> decide(TimePoint now) const {
    const auto items = runnable(now);
    if (items.empty()) return {0, TimePoint::max()};
    const auto largest = rules_.preferred_rows.empty() ? spec_.max_batch_rows : rules_.preferred_rows.back();
    std::uint32_t rows = 0;
    std::size_t count = 0, best = 0;
    bool closed = false;
    TimePoint oldest = TimePoint::max();
    for (const Known& k : items) {
      if (count > 0) {
        if (best == 0 && rows + k.rows > largest) best = count;
        closed = rows + k.rows > spec_.max_batch_rows || k.width != items[0].width ||
                 k.with_optional != items[0].with_optional;
        if (closed) break;
      }
      rows += k.rows;
      ++count;
      oldest = std::min(oldest, k.arrived);
      const auto& preferred = rules_.preferred_rows;
      const bool hit =
          preferred.empty() ? rows == largest : std::find(preferred.begin(), preferred.end(), rows) != preferred.end();
      if (hit) best = count;
    }
    const bool overdue = rules_.max_queue_delay > 0us && now >= oldest + rules_.max_queue_delay;
    if (best > 0 && !overdue) return {best, {}};
    if (closed || rows >= largest || overdue || rules_.max_queue_delay == 0us) return {count, {}};
    return {0, oldest + rules_.max_queue_delay};
  }

  Known take(const std::string& id) {
    const auto found = std::find_if(queue.begin(), queue.end(), [&](const Known& k) { return k.id == id; });
    if (found == queue.end()) {
      ADD_FAILURE() << id << " left twice or never arrived";
      return {};
    }
    Known out = *found;
    queue.erase(found);
    return out;
  }

  std::vector<Known> queue;  // arrival order

 private:
  const model::ModelSpec& spec_;
  const model::Batching& rules_;
};

class Game {
 public:
  explicit Game(unsigned seed) : random_(seed), spec_(rules()), plain_(spec_), batcher_(spec_, 1) {}

  void play() {
    for (int step = 0; step < 120 && !::testing::Test::HasFatalFailure(); ++step) {
      now_ += Micros(pick(0, 6));
      switch (pick(0, 5)) {
        case 0:
        case 1:
        case 2: push(); break;
        case 3: ask(); break;
        case 4:
          cancel_one();
          if (pick(0, 1) == 0) ask();
          expire();
          break;
        default: expire(); break;
      }
      if (::testing::Test::HasFailure()) return;
    }
    finish();
  }

 private:
  int pick(int low, int high) { return std::uniform_int_distribution(low, high)(random_); }

  model::QueuePolicy queue_policy() {
    return {.timeout_action = pick(0, 1) ? model::TimeoutAction::reject : model::TimeoutAction::delay,
            .default_timeout = Micros(pick(0, 2) ? pick(5, 60) : 0),
            .max_queue_size = static_cast<std::uint32_t>(pick(0, 2) ? 0 : pick(1, 6))};
  }

  model::ModelSpec rules() {
    const int max_rows = pick(1, 8);
    model::Batching b;
    b.max_queue_delay = Micros(pick(0, 1) ? pick(1, 30) : 0);
    std::set<std::uint32_t> preferred;
    for (int i = pick(0, 2); i > 0; --i) preferred.insert(static_cast<std::uint32_t>(pick(1, max_rows)));
    b.preferred_rows.assign(preferred.begin(), preferred.end());
    b.default_policy = queue_policy();
    b.priority_levels = static_cast<std::uint32_t>(pick(0, 1) ? 0 : pick(1, 3));
    if (b.priority_levels > 0) {
      b.default_priority = static_cast<std::uint32_t>(pick(1, static_cast<int>(b.priority_levels)));
      if (pick(0, 1)) b.level_policies[1] = queue_policy();
    }
    return batching_model(static_cast<std::uint32_t>(max_rows), b);
  }

  void push() {
    Asked asked{.arrived = std::chrono::duration_cast<Micros>(now_.time_since_epoch()),
                .rows = static_cast<std::uint32_t>(pick(1, static_cast<int>(spec_.max_batch_rows))),
                .priority = static_cast<std::uint64_t>(pick(0, 4)),
                .width = pick(0, 5) ? 4 : 5,
                .with_optional = pick(0, 7) == 0};
    if (pick(0, 3) == 0) asked.deadline = now_ + Micros(pick(1, 50));
    const auto levels = spec_.batching->priority_levels;
    const std::uint32_t level = levels == 0 ? 0
                                : asked.priority >= 1 && asked.priority <= levels
                                    ? static_cast<std::uint32_t>(asked.priority)
                                    : spec_.batching->default_priority;
    auto item = request(std::to_string(pushed_++), asked);
    Known known{.id = item.request->id,
                .level = level,
                .rows = asked.rows,
                .width = asked.width,
                .with_optional = asked.with_optional,
                .arrived = now_,
                .deadline = asked.deadline,
                .cancellation = item.request->cancellation};
    const bool full = plain_.full(level, now_);
    const Status status = batcher_.push(std::move(item), now_);
    ASSERT_EQ(status.ok(), !full) << status.message();
    if (status.ok()) {
      plain_.add(std::move(known));
    } else {
      ASSERT_NE(item.request, nullptr);
    }
  }

  void ask() {
    const auto [count, until] = plain_.decide(now_);
    const auto order = plain_.runnable(now_);
    auto decision = batcher_.next(0, now_);
    if (nothing_set()) return judge_freely(decision, order, count);
    const bool cancelled =
        std::any_of(plain_.queue.begin(), plain_.queue.end(), [](const Known& k) { return k.cancelled; });
    if (count == 0 && cancelled) {
      // One it has seen before may still count until the batch runs: it asks again sooner at most.
      ASSERT_FALSE(std::holds_alternative<RunBatch>(decision));
      if (auto* wait = std::get_if<WaitUntil>(&decision)) {
        ASSERT_GT(wait->when, now_);
        ASSERT_LE(wait->when, until);
      }
    } else if (count == 0 && order.empty()) {
      ASSERT_TRUE(waits_for_work(decision));
    } else if (count == 0) {
      ASSERT_TRUE(std::holds_alternative<WaitUntil>(decision));
      ASSERT_EQ(std::get<WaitUntil>(decision).when, until);
    } else {
      Ids expected;
      for (std::size_t i = 0; i < count; ++i) expected.push_back(order[i].id);
      ASSERT_EQ(ids(decision), expected);
      for (const auto& id : expected) plain_.take(id);
    }
  }

  bool nothing_set() const {
    const auto& sizes = spec_.batching->preferred_rows;
    return spec_.batching->max_queue_delay == 0us && (sizes.empty() || sizes == std::vector{spec_.max_batch_rows});
  }

  // Flow may wait a little, or run fewer than the `count` that could: the first ones.
  void judge_freely(const Decision& decision, const std::vector<Known>& order, std::size_t count) {
    if (const auto* wait = std::get_if<WaitUntil>(&decision)) {
      ASSERT_GT(wait->when, now_);
      ASSERT_LE(wait->when, now_ + Flow::kLongestHold);
      for (const Known& k : order) ASSERT_GT(k.deadline, wait->when) << k.id << " would not live to see it";
      return;
    }
    if (order.empty()) {
      ASSERT_TRUE(waits_for_work(decision));
      return;
    }
    const Ids got = ids(decision);
    ASSERT_GE(got.size(), 1u);
    ASSERT_LE(got.size(), count);
    for (std::size_t i = 0; i < got.size(); ++i) {
      ASSERT_EQ(got[i], order[i].id);
      plain_.take(got[i]);
    }
  }

  void cancel_one() {
    if (plain_.queue.empty()) return;
    Known& known = plain_.queue[static_cast<std::size_t>(pick(0, static_cast<int>(plain_.queue.size()) - 1))];
    known.cancelled = true;
    known.cancellation->cancel();
  }

  void expire() {
    TimePoint soonest = TimePoint::max();
    for (const Known& k : plain_.queue) soonest = std::min(soonest, k.deadline);
    // Never later than the truth, and not earlier unless something waits to be answered.
    ASSERT_LE(batcher_.next_deadline(), soonest);
    if (batcher_.next_deadline() != TimePoint::min()) {
      ASSERT_EQ(batcher_.next_deadline(), soonest);
    }
    for (const Dropped& dropped : batcher_.expired(now_)) {
      const Known known = plain_.take(dropped.item.request->id);
      if (dropped.why.code() == StatusCode::cancelled) {
        ASSERT_TRUE(known.cancelled);
      } else {
        ASSERT_LE(known.deadline, now_);
        ASSERT_EQ(dropped.why.message(), "Request timeout expired");
      }
    }
    for (const Known& k : plain_.queue) {
      ASSERT_GT(k.deadline, now_) << k.id << " was kept past its deadline";
      ASSERT_FALSE(k.cancelled) << k.id;
    }
    ASSERT_EQ(batcher_.size(), plain_.queue.size());
    TimePoint oldest = TimePoint::max();
    for (const Known& k : plain_.queue) oldest = std::min(oldest, k.arrived);
    ASSERT_EQ(batcher_.oldest_arrival(), oldest);
  }

  void finish() {
    expire();
    while (!::testing::Test::HasFailure()) {
      auto decision = batcher_.next(0, TimePoint::max());
      if (waits_for_work(decision)) break;
      for (const auto& id : ids(decision)) plain_.take(id);
    }
    EXPECT_TRUE(plain_.queue.empty());
    EXPECT_EQ(batcher_.size(), 0u);
  }

  std::mt19937 random_;
  const model::ModelSpec spec_;
  PlainBatcher plain_;
  DynamicBatcher batcher_;
  TimePoint now_{};
  int pushed_ = 0;
};

TEST(DynamicBatcherProperty, DecidesAsThePlainModelDoes) {
  for (unsigned seed = 0; seed < 2'000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Game(seed).play();
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace argosy::sched
