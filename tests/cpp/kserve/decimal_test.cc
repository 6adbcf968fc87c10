#include "kserve/decimal.h"

#include <gtest/gtest.h>

#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>

#include "kserve/half.h"

namespace argosy::kserve {
namespace {

std::string written(double value) {
  char text[kLongestDouble];
  return {text, write_double(text, value)};
}

double library_reads(const std::string& text) {
  double value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

TEST(Decimal, WritesWhatV2ServersWrite) {
  EXPECT_EQ(written(0.1f), "0.10000000149011612");
  EXPECT_EQ(written(1.0), "1.0");
  EXPECT_EQ(written(0.0), "0.0");
  EXPECT_EQ(written(-0.0), "-0.0");
  EXPECT_EQ(written(-2.5), "-2.5");
  EXPECT_EQ(written(123456789.0), "123456789.0");
  EXPECT_EQ(written(1e20), "100000000000000000000.0");
  EXPECT_EQ(written(1e21), "1e21");
  EXPECT_EQ(written(1.5e300), "1.5e300");
  EXPECT_EQ(written(0.00001), "0.00001");
  EXPECT_EQ(written(1e-7), "1e-7");
  EXPECT_EQ(written(5e-324), "5e-324");
  EXPECT_EQ(written(std::numeric_limits<double>::max()), "1.7976931348623157e308");
  EXPECT_EQ(written(std::nan("")), "NaN");
  EXPECT_EQ(written(HUGE_VAL), "Infinity");
  EXPECT_EQ(written(-HUGE_VAL), "-Infinity");
}

// The law: what is written reads back as the same double, and has no more digits than
// the library's shortest.
void check_shortest(double value) {
  const std::string text = written(value);
  ASSERT_EQ(std::bit_cast<std::uint64_t>(library_reads(text)), std::bit_cast<std::uint64_t>(value)) << text;
  char other[64];
  const std::string library(other, std::to_chars(other, other + 64, value, std::chars_format::scientific).ptr);
  const auto digits = [](const std::string& number) {
    std::string out;
    for (const char c : number) {
      if (c == 'e') break;
      if (c >= '0' && c <= '9') out += c;
    }
    const std::size_t first = out.find_first_not_of('0');
    if (first == std::string::npos) return std::string();
    const std::size_t last = out.find_last_not_of('0');
    return out.substr(first, last - first + 1);
  };
  ASSERT_EQ(digits(text), digits(library)) << text << " " << library;
}

TEST(Decimal, WritesTheShortestDigitsOfAnyDouble) {
  std::mt19937_64 random(7);
  for (int i = 0; i < 200000; ++i) {
    const double value = std::bit_cast<double>(random());
    if (std::isfinite(value)) check_shortest(value);
  }
}

TEST(Decimal, WritesTheShortestDigitsOfWidenedFloats) {
  std::mt19937 random(8);
  for (int i = 0; i < 300000; ++i) {
    const float value = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
    if (std::isfinite(value)) check_shortest(value);
  }
  for (int power = -1074; power < 1024; ++power) check_shortest(std::ldexp(1.0, power));
}

TEST(Decimal, ReadsEveryNumberAsTheLibraryDoes) {
  std::mt19937_64 random(9);
  for (int i = 0; i < 300000; ++i) {
    std::string text;
    if (i % 3 == 0) {
      text = written(std::bit_cast<double>(random() & 0x7fefffffffffffffull));
    } else if (i % 3 == 1) {
      text = written(static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(random() & 0x7f7fffff))));
    } else {
      text = std::to_string(random() % 1000) + "." + std::to_string(random());
      if (i % 2 == 0) text += "e" + std::to_string(static_cast<int>(random() % 60) - 30);
    }
    if (text == "Infinity" || text == "NaN") continue;
    double as_double = 0;
    float as_float = 0;
    ASSERT_EQ(read_double(text.data(), text.data() + text.size(), as_double), text.data() + text.size()) << text;
    ASSERT_EQ(read_float(text.data(), text.data() + text.size(), as_float), text.data() + text.size()) << text;
    ASSERT_EQ(as_double, library_reads(text)) << text;
    ASSERT_EQ(as_float, static_cast<float>(library_reads(text))) << text;
  }
}

TEST(Decimal, ReadsNumbersBeyondTheTypeAsInfinityAndTinyOnesAsZero) {
  const auto read = [](std::string text) {
    double value = -1;
    EXPECT_NE(read_double(text.data(), text.data() + text.size(), value), nullptr) << text;
    return value;
  };
  EXPECT_EQ(read("1e400"), HUGE_VAL);
  EXPECT_EQ(read("-1e400"), -HUGE_VAL);
  EXPECT_EQ(read("1e-400"), 0.0);
  EXPECT_EQ(read("0.0e999999999999"), 0.0);
  EXPECT_EQ(read("0." + std::string(400, '0') + "1"), 0.0);
  EXPECT_EQ(read("1" + std::string(400, '0')), HUGE_VAL);
  EXPECT_EQ(read("1" + std::string(400, '0') + "e-400"), 1.0);
}

TEST(Decimal, RefusesWhatIsNoJsonNumber) {
  for (const std::string text : {"", "-", ".5", "1.", "01", "-01", "+1", "1e", "1e+", "e5", "abc"}) {
    double value = 0;
    EXPECT_EQ(read_double(text.data(), text.data() + text.size(), value), nullptr) << text;
  }
}

TEST(Half, EveryFp16AndBf16SurvivesTheWayThroughDouble) {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    if (!std::isnan(Fp16::widen(half))) {
      ASSERT_EQ(Fp16::narrow(Fp16::widen(half)), half) << bits;
    }
    if (!std::isnan(Bf16::widen(half))) {
      ASSERT_EQ(Bf16::narrow(Bf16::widen(half)), half) << bits;
    }
    const auto wide = std::bit_cast<float>(bits << 16);
    if (!std::isnan(wide)) {
      ASSERT_EQ(Bf16::widen(half), static_cast<double>(wide));
    }
  }
}

TEST(Half, RoundsTiesToEvenAndOverflowsToInfinity) {
  EXPECT_EQ(Fp16::narrow(1.0 + 1.0 / 2048), 0x3c00);
  EXPECT_EQ(Fp16::narrow(1.0 + 3.0 / 2048), 0x3c02);
  EXPECT_EQ(Fp16::narrow(65504.0), 0x7bff);
  EXPECT_EQ(Fp16::narrow(65519.9), 0x7bff);
  EXPECT_EQ(Fp16::narrow(65520.0), 0x7c00);
  EXPECT_EQ(Fp16::narrow(-1e9), 0xfc00);
  EXPECT_EQ(Fp16::narrow(std::ldexp(1.0, -24)), 0x0001);
  EXPECT_EQ(Fp16::narrow(std::ldexp(1.0, -26)), 0x0000);
}

}  // namespace
}  // namespace argosy::kserve
