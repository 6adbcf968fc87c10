#include "metrics/reported.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "metrics/prometheus.h"

namespace argosy::metrics {
namespace {

Reported::Line line(std::string name, std::string gpu, double value, Kind kind = Kind::gauge) {
  return {{std::move(name), kind, "help"}, {{"gpu_uuid", std::move(gpu)}}, value};
}

TEST(Reported, APageShowsWhatWasHandedOverLast) {
  Registry registry;
  auto reported = std::make_shared<Reported>();
  registry.add(reported);
  EXPECT_EQ(prometheus_text(registry.collect()), "");
  ASSERT_TRUE(reported->replace({line("a", "0", 1), line("a", "1", 2)}).ok());
  ASSERT_TRUE(reported->replace({line("a", "1", 0.25), line("e", "1", 7, Kind::counter)}).ok());
  EXPECT_EQ(prometheus_text(registry.collect()),
            "# HELP a help\n# TYPE a gauge\na{gpu_uuid=\"1\"} 0.25\n"
            "# HELP e help\n# TYPE e counter\ne{gpu_uuid=\"1\"} 7\n");
  reported.reset();
  EXPECT_EQ(prometheus_text(registry.collect()), "");
}

TEST(Reported, NamesThatAreNoneAreRefusedAndChangeNothing) {
  Reported reported;
  ASSERT_TRUE(reported.replace({line("a", "0", 1)}).ok());
  EXPECT_EQ(reported.replace({line("9a", "0", 2)}).code(), StatusCode::invalid_argument);
  EXPECT_EQ(reported.replace({{{"a", Kind::gauge, ""}, {{"x:y", ""}}, 2}}).code(), StatusCode::invalid_argument);
  Page page;
  reported.collect(page);
  EXPECT_EQ(page.blocks().at("a").series.size(), 1U);
  EXPECT_EQ(std::get<double>(page.blocks().at("a").series[0].value), 1.0);
}

TEST(Reported, APageIsMadeOfOneHandOver) {
  Reported reported;
  std::atomic<bool> stop = false;
  std::jthread writer([&] {
    for (double round = 0; !stop; ++round) {
      ASSERT_TRUE(reported.replace({line("a", "0", round), line("b", "0", round)}).ok());
    }
  });
  for (double seen = -1; seen < 500;) {
    Page page;
    reported.collect(page);
    if (page.blocks().empty()) continue;
    seen = std::get<double>(page.blocks().at("a").series[0].value);
    EXPECT_EQ(seen, std::get<double>(page.blocks().at("b").series[0].value));
  }
  stop = true;
}

}  // namespace
}  // namespace argosy::metrics
