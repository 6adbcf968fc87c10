#include "http2/lifetime.h"

#include <gtest/gtest.h>

namespace argosy::http2 {
namespace {

using namespace std::chrono_literals;

TimePoint at(Micros since) { return TimePoint{} + 1h + since; }

LifetimeRules quiet() {
  LifetimeRules rules;
  rules.keepalive_time = kNever;
  rules.first_frame_timeout = kNever;
  return rules;
}

TEST(Lifetime, WithoutRulesItNeverWakes) {
  Lifetime life(quiet(), at(0s));
  const auto next = life.next(at(100h));
  EXPECT_EQ(next.action, LifetimeAction::wait);
  EXPECT_EQ(next.wake, TimePoint::max());
}

TEST(Lifetime, AClientThatSendsNothingAtAllIsClosed) {
  auto rules = quiet();
  rules.first_frame_timeout = 20s;
  Lifetime life(rules, at(0s));
  EXPECT_EQ(life.next(at(19s)).wake, at(20s));
  EXPECT_EQ(life.next(at(20s)).action, LifetimeAction::close);
}

TEST(Lifetime, PingsASilentClientAndClosesIfItStaysSilent) {
  auto rules = quiet();
  rules.keepalive_time = 10s;
  rules.keepalive_timeout = 3s;
  Lifetime life(rules, at(0s));
  life.on_streams(1, at(0s));
  life.on_received(at(1s));
  EXPECT_EQ(life.next(at(10s)).wake, at(11s));
  EXPECT_EQ(life.next(at(11s)).action, LifetimeAction::ping);
  EXPECT_EQ(life.next(at(11s)).wake, at(14s));
  EXPECT_EQ(life.next(at(14s)).action, LifetimeAction::close);
}

TEST(Lifetime, AnyBytesAnswerAPing) {
  auto rules = quiet();
  rules.keepalive_time = 10s;
  rules.keepalive_timeout = 3s;
  Lifetime life(rules, at(0s));
  life.on_streams(1, at(0s));
  EXPECT_EQ(life.next(at(10s)).action, LifetimeAction::ping);
  life.on_received(at(12s));
  EXPECT_EQ(life.next(at(14s)).wake, at(22s));
}

TEST(Lifetime, WithoutStreamsItPingsOnlyWhenAllowed) {
  auto rules = quiet();
  rules.keepalive_time = 10s;
  EXPECT_EQ(Lifetime(rules, at(0s)).next(at(11s)).action, LifetimeAction::wait);
  rules.ping_without_streams = true;
  EXPECT_EQ(Lifetime(rules, at(0s)).next(at(11s)).action, LifetimeAction::ping);
}

TEST(Lifetime, SendsOnlySoManyPingsWithoutData) {
  auto rules = quiet();
  rules.keepalive_time = 10s;
  rules.max_pings_without_data = 2;
  Lifetime life(rules, at(0s));
  life.on_streams(1, at(0s));
  for (int i = 1; i <= 2; ++i) {
    EXPECT_EQ(life.next(at(i * 10s)).action, LifetimeAction::ping);
    life.on_received(at(i * 10s));
  }
  EXPECT_EQ(life.next(at(30s)).action, LifetimeAction::wait);
  life.on_sent_data();
  EXPECT_EQ(life.next(at(30s)).action, LifetimeAction::ping);
}

TEST(Lifetime, AnOldConnectionDrainsAndThenCloses) {
  auto rules = quiet();
  rules.max_age = 60s;
  rules.max_age_grace = 5s;
  Lifetime life(rules, at(0s));
  life.on_streams(1, at(0s));
  EXPECT_EQ(life.next(at(0s)).wake, at(60s));
  EXPECT_EQ(life.next(at(60s)).action, LifetimeAction::drain);
  EXPECT_EQ(life.next(at(60s)).wake, at(65s));
  EXPECT_EQ(life.next(at(65s)).action, LifetimeAction::close);
}

TEST(Lifetime, AnIdleConnectionDrainsAndABusyOneDoesNot) {
  auto rules = quiet();
  rules.max_idle = 30s;
  Lifetime life(rules, at(0s));
  life.on_streams(1, at(1s));
  EXPECT_EQ(life.next(at(40s)).action, LifetimeAction::wait);
  life.on_streams(0, at(50s));
  EXPECT_EQ(life.next(at(60s)).wake, at(80s));
  EXPECT_EQ(life.next(at(80s)).action, LifetimeAction::drain);
}

TEST(Lifetime, PingsThatComeTooOftenAreStrikes) {
  auto rules = quiet();
  rules.min_received_ping_interval = 10s;
  rules.max_ping_strikes = 2;
  Lifetime life(rules, at(0s));
  life.on_streams(1, at(0s));
  EXPECT_TRUE(life.on_ping(at(0s)));
  EXPECT_TRUE(life.on_ping(at(1s)));
  EXPECT_TRUE(life.on_ping(at(2s)));
  EXPECT_FALSE(life.on_ping(at(3s)));
}

TEST(Lifetime, SlowPingsAndPingsBetweenAnswersAreNoStrikes) {
  auto rules = quiet();
  rules.min_received_ping_interval = 10s;
  rules.max_ping_strikes = 1;
  Lifetime life(rules, at(0s));
  life.on_streams(1, at(0s));
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(life.on_ping(at(i * 10s)));
  for (int i = 0; i < 10; ++i) {
    life.on_sent_data();
    EXPECT_TRUE(life.on_ping(at(100s + i * 1s)));
  }
}

TEST(Lifetime, WithoutStreamsAPingNeedsTwoHoursUnlessAllowed) {
  auto rules = quiet();
  rules.min_received_ping_interval = 10s;
  rules.max_ping_strikes = 1;
  Lifetime strict(rules, at(0s));
  EXPECT_TRUE(strict.on_ping(at(0s)));
  EXPECT_TRUE(strict.on_ping(at(20s)));
  EXPECT_FALSE(strict.on_ping(at(40s)));
  rules.ping_without_streams = true;
  Lifetime allowed(rules, at(0s));
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(allowed.on_ping(at(i * 20s)));
}

TEST(Lifetime, ZeroStrikesForgivesAll) {
  auto rules = quiet();
  rules.max_ping_strikes = 0;
  Lifetime life(rules, at(0s));
  life.on_streams(1, at(0s));
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(life.on_ping(at(Micros(i))));
}

}  // namespace
}  // namespace argosy::http2
