#include "grpc/timeout.h"

#include <gtest/gtest.h>

namespace argosy::grpc {
namespace {

using namespace std::chrono_literals;

TEST(GrpcTimeout, ReadsEveryUnit) {
  EXPECT_EQ(parse_timeout("2H"), 2h);
  EXPECT_EQ(parse_timeout("3M"), 3min);
  EXPECT_EQ(parse_timeout("4S"), 4s);
  EXPECT_EQ(parse_timeout("250m"), 250ms);
  EXPECT_EQ(parse_timeout("7u"), 7us);
  EXPECT_EQ(parse_timeout("1500n"), 2us);
  EXPECT_EQ(parse_timeout("0n"), 0us);
  EXPECT_EQ(parse_timeout("99999999H"), 99999999h);
}

TEST(GrpcTimeout, RefusesWhatIsNone) {
  for (const auto* text : {"", "1", "m", "1x", "-1m", "+1m", " 1m", "1 m", "123456789m", "1.5S", "1mm"}) {
    EXPECT_EQ(parse_timeout(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace argosy::grpc
