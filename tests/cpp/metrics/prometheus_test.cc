#include "metrics/prometheus.h"

#include <gtest/gtest.h>

#include <latch>
#include <thread>

#include "base/time.h"
#include "metrics/process.h"
#include "metrics/registry.h"

namespace argosy::metrics {
namespace {

TEST(Prometheus, PrintsHelpTypeAndEscapedLabels) {
  Page page;
  page.add({"a_total", Kind::counter, "lines\nand \\"}, {{"model", "q\"\\\n"}}, std::uint64_t{7});
  page.add({"b", Kind::gauge, "half"}, {}, 0.5);
  EXPECT_EQ(prometheus_text(page),
            "# HELP a_total lines\\nand \\\\\n# TYPE a_total counter\na_total{model=\"q\\\"\\\\\\n\"} 7\n"
            "# HELP b half\n# TYPE b gauge\nb 0.5\n");
}

TEST(Prometheus, HistogramsAreCumulativeInTheirOutsideUnit) {
  Histogram histogram({1'000, 2'000}, 1e-3);
  histogram.observe(1'000);
  histogram.observe(1'001, 2);
  histogram.observe(9'000);
  Page page;
  page.add({"h", Kind::histogram, "x"}, {{"m", "a"}}, histogram.read());
  EXPECT_EQ(prometheus_text(page),
            "# HELP h x\n# TYPE h histogram\nh_bucket{m=\"a\",le=\"1\"} 1\nh_bucket{m=\"a\",le=\"2\"} 3\n"
            "h_bucket{m=\"a\",le=\"+Inf\"} 4\nh_sum{m=\"a\"} 12.002\nh_count{m=\"a\"} 4\n");
}

TEST(Registry, ASeriesLivesAsLongAsItsHandle) {
  Registry registry;
  const Family family{"jobs", Kind::counter, "j"};
  auto counter = *registry.counter(family, {{"b", "2"}, {"a", "1"}});
  counter->add(3);
  EXPECT_EQ(*registry.counter(family, {{"a", "1"}, {"b", "2"}}), counter);
  EXPECT_NE(prometheus_text(registry.collect()).find("jobs{a=\"1\",b=\"2\"} 3\n"), std::string::npos);
  counter.reset();
  EXPECT_EQ(prometheus_text(registry.collect()), "");
}

TEST(Registry, RefusesAnotherKindAndBadNames) {
  Registry registry;
  const auto counter = registry.counter({"x", Kind::counter, "h"}, {});
  EXPECT_EQ(registry.gauge({"x", Kind::gauge, "h"}, {}).status().code(), StatusCode::already_exists);
  EXPECT_EQ(registry.gauge({"9x", Kind::gauge, "h"}, {}).status().code(), StatusCode::invalid_argument);
  EXPECT_EQ(registry.gauge({"y", Kind::gauge, "h"}, {{"a:b", ""}}).status().code(), StatusCode::invalid_argument);
}

TEST(Registry, CountsExactlyUnderRacingWriters) {
  Registry registry;
  auto counter = *registry.counter({"x", Kind::counter, "h"}, {});
  auto histogram = *registry.histogram({"y", Kind::histogram, "h"}, {}, {10, 20}, 1);
  {
    std::vector<std::jthread> writers;
    for (int w = 0; w < 4; ++w) {
      writers.emplace_back([&] {
        for (int i = 0; i < 10'000; ++i) {
          counter->add();
          histogram->observe(15);
        }
      });
    }
    for (int i = 0; i < 20; ++i) registry.collect();
  }
  EXPECT_EQ(counter->value(), 40'000u);
  EXPECT_EQ(histogram->read().count, 40'000u);
  EXPECT_EQ(histogram->read().sum, 600'000);
}

TEST(ProcessSource, TellsThisProcessAndMachine) {
  Registry registry;
  const auto source = std::make_shared<ProcessSource>();
  registry.add(source);
  const auto page = registry.collect();
  const auto value = [&](const char* name) { return page.blocks().at(name).series.at(0).value; };
  EXPECT_GT(std::get<std::uint64_t>(value("process_resident_memory_bytes")), 1u << 20);
  EXPECT_GT(std::get<std::uint64_t>(value("nv_cpu_memory_total_bytes")),
            std::get<std::uint64_t>(value("nv_cpu_memory_used_bytes")));
  const auto threads = [&] {
    const auto now = registry.collect();
    return std::get<std::uint64_t>(now.blocks().at("process_threads").series.at(0).value);
  };
  const auto counts_another = [&] {
    const std::uint64_t before = threads();
    std::latch done(1);
    std::jthread another([&] { done.wait(); });
    const std::uint64_t with_another = threads();
    done.count_down();
    return with_another == before + 1;
  };
  // The kernel counts a thread for a moment after it was joined: those of earlier tests.
  const TimePoint patience = SteadyClock().now() + std::chrono::seconds(60);
  bool counted = counts_another();
  while (!counted && SteadyClock().now() < patience) counted = counts_another();
  EXPECT_TRUE(counted);
  const double busy = std::get<double>(value("nv_cpu_utilization"));
  EXPECT_TRUE(busy >= 0 && busy <= 1) << busy;
}

}  // namespace
}  // namespace argosy::metrics
