#include "worker/custom_metrics.h"

#include <gtest/gtest.h>

#include <limits>

#include "metrics/prometheus.h"

namespace argosy::worker {
namespace {

using metrics::Kind;
using Operation = CustomMetrics::Operation;

struct Server {
  std::shared_ptr<CustomMetrics> page =
      std::make_shared<CustomMetrics>([](const std::string& name) { return name == "taken"; });
  std::shared_ptr<InstanceMetrics> instance = std::make_shared<InstanceMetrics>(page);

  std::string text() const {
    metrics::Page whole;
    page->collect(whole);
    return metrics::prometheus_text(whole);
  }
};

std::uint64_t metric(MetricsLife& life, Kind kind, std::vector<double> bounds = {}, metrics::Labels labels = {}) {
  const auto family = life.make_family({"m", kind, "help"});
  EXPECT_TRUE(family.ok());
  const auto made = life.make_metric(*family, std::move(labels), std::move(bounds));
  EXPECT_TRUE(made.ok());
  return *made;
}

TEST(CustomMetrics, LivesOfTheSameSeriesAddUp) {
  Server server;
  MetricsLife first(server.instance), second(std::make_shared<InstanceMetrics>(server.page));
  const auto a = metric(first, Kind::counter), b = metric(second, Kind::counter);
  first.update(a, Operation::increment, 2.5);
  second.update(b, Operation::increment, 1);
  EXPECT_EQ(*second.value(b), 3.5);
  EXPECT_EQ(server.text(), "# HELP m help\n# TYPE m counter\nm 3.5\n");
}

TEST(CustomMetrics, ACounterSurvivesALifeButNotItsInstance) {
  Server server;
  {
    MetricsLife life(server.instance);
    life.update(metric(life, Kind::counter), Operation::increment, 4);
  }
  EXPECT_NE(server.text().find("m 4\n"), std::string::npos);
  {
    MetricsLife again(server.instance);
    EXPECT_EQ(*again.value(metric(again, Kind::counter)), 4);
  }
  server.instance.reset();
  EXPECT_EQ(server.text(), "");
}

TEST(CustomMetrics, WhatAModelDropsIsGoneAlsoWhenAnEarlierLifeMadeIt) {
  Server server;
  {
    MetricsLife life(server.instance);
    life.update(metric(life, Kind::counter), Operation::increment, 4);
  }
  MetricsLife again(server.instance);
  again.drop_metric(metric(again, Kind::counter));
  EXPECT_EQ(server.text(), "");
}

TEST(CustomMetrics, AGaugeLosesWhatADeadLifeHadAdded) {
  Server server;
  MetricsLife stays(std::make_shared<InstanceMetrics>(server.page));
  const auto kept = metric(stays, Kind::gauge);
  stays.update(kept, Operation::increment, 1);
  {
    MetricsLife dies(server.instance);
    dies.update(metric(dies, Kind::gauge), Operation::increment, 5);
    EXPECT_EQ(*stays.value(kept), 6);
  }
  EXPECT_EQ(*stays.value(kept), 1);
}

TEST(CustomMetrics, AValueThatWasSetStaysWhenAnotherLifeEnds) {
  Server server;
  MetricsLife stays(std::make_shared<InstanceMetrics>(server.page));
  const auto kept = metric(stays, Kind::gauge);
  {
    MetricsLife dies(server.instance);
    const auto its = metric(dies, Kind::gauge);
    dies.update(its, Operation::increment, 5);
    stays.update(kept, Operation::set, 2);
  }
  EXPECT_EQ(*stays.value(kept), 2);
}

TEST(CustomMetrics, AHistogramCountsEachBound) {
  Server server;
  MetricsLife life(server.instance);
  const auto sizes = metric(life, Kind::histogram, {1, 2});
  for (const double value : {1.0, 1.5, 9.0}) life.update(sizes, Operation::observe, value);
  EXPECT_EQ(server.text(),
            "# HELP m help\n# TYPE m histogram\nm_bucket{le=\"1\"} 1\nm_bucket{le=\"2\"} 2\nm_bucket{le=\"+Inf\"} 3\n"
            "m_sum 11.5\nm_count 3\n");
  EXPECT_EQ(life.value(sizes).status().code(), StatusCode::unsupported);
}

TEST(CustomMetrics, NonsenseHasNoEffect) {
  Server server;
  MetricsLife life(server.instance);
  const auto counter = metric(life, Kind::counter);
  life.update(counter, Operation::increment, -1);
  life.update(counter, Operation::increment, std::numeric_limits<double>::quiet_NaN());
  life.update(counter, Operation::set, 7);
  life.update(counter, Operation::observe, 7);
  life.update(999, Operation::increment, 1);
  life.drop_metric(999);
  EXPECT_EQ(*life.value(counter), 0);
  EXPECT_EQ(life.value(999).status().code(), StatusCode::not_found);
  EXPECT_EQ(life.drop_family(999).code(), StatusCode::not_found);
}

TEST(CustomMetrics, NamesAreCheckedAndCannotBeTakenTwice) {
  Server server;
  MetricsLife life(server.instance);
  EXPECT_EQ(life.make_family({"no name", Kind::gauge, ""}).status().code(), StatusCode::invalid_argument);
  EXPECT_EQ(life.make_family({"taken", Kind::gauge, ""}).status().code(), StatusCode::already_exists);
  const auto family = life.make_family({"m", Kind::histogram, "help"});
  ASSERT_TRUE(family.ok());
  EXPECT_EQ(life.make_family({"m", Kind::gauge, "help"}).status().code(), StatusCode::already_exists);
  EXPECT_EQ(life.make_family({"m", Kind::histogram, "other"}).status().code(), StatusCode::already_exists);
  EXPECT_EQ(life.make_metric(*family, {{"no label", "1"}}, {1}).status().code(), StatusCode::invalid_argument);
  EXPECT_EQ(life.make_metric(*family, {}, {2, 1}).status().code(), StatusCode::invalid_argument);
  ASSERT_TRUE(life.make_metric(*family, {}, {1, 2}).ok());
  EXPECT_EQ(life.drop_family(*family).code(), StatusCode::invalid_argument);
}

}  // namespace
}  // namespace argosy::worker
