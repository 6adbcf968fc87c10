#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>

#include "kserve/decimal.h"
#include "kserve/json_reader.h"

namespace argosy::kserve {
namespace {

constexpr std::array<double, 23> kTens{1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                       1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

struct Scanned {
  std::uint64_t digits = 0;
  int exponent = 0;
  bool negative = false;
  bool exact = false;  // `digits` holds every digit
};

constexpr std::array<std::uint64_t, 9> kSteps{1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};

// Digits from `p` on, appended to `digits`; eight characters a step, without a branch
// for each: where the digits of a tensor's elements end cannot be foreseen.
inline const char* take_digits(const char* p, const char* end, std::uint64_t& digits) {
  constexpr std::uint64_t kZeros = 0x3030303030303030;
  while (end - p >= 8) {
    std::uint64_t word = 0;  // the first character lowest
    std::memcpy(&word, p, sizeof(word));
    const std::uint64_t off = word ^ kZeros;
    const std::uint64_t others = ((off + 0x7676767676767676) | off) & 0x8080808080808080;
    const unsigned count = others == 0 ? 8 : static_cast<unsigned>(std::countr_zero(others)) / 8;
    // Digits move to the end of the word, zeros before them; then pairs, fours, eight.
    word = ((word - kZeros) << (4 * (8 - count))) << (4 * (8 - count));
    word = word * 10 + (word >> 8);
    word =
        ((word & 0x000000ff000000ff) * 0x000f424000000064 + ((word >> 16) & 0x000000ff000000ff) * 0x0000271000000001) >>
        32;
    digits = digits * kSteps[count] + word;
    p += count;
    if (count < 8) return p;
  }
  while (p < end && is_digit(*p)) digits = digits * 10 + static_cast<unsigned char>(*p++ - '0');
  return p;
}

// Walks one number by JSON's grammar; null when it is none. In line: what it finds
// stays in registers.
[[gnu::always_inline]] inline const char* scan(const char* p, const char* end, Scanned& out) {
  // Half of a tensor is negative: no branch can foresee a sign.
  out.negative = p < end && *p == '-';
  p += out.negative ? 1 : 0;
  if (p == end || !is_digit(*p)) return nullptr;
  const char* const first = p;
  std::uint64_t digits = 0;
  while (p < end && is_digit(*p)) digits = digits * 10 + static_cast<unsigned char>(*p++ - '0');
  if (*first == '0' && p - first > 1) return nullptr;
  std::ptrdiff_t count = p - first;
  int exponent = 0;
  if (p < end && *p == '.') {
    const char* const fraction = ++p;
    p = take_digits(p, end, digits);
    if (p == fraction) return nullptr;
    count += p - fraction;
    // Leading zeros are no digits; without this 0.000…1 would take the slow way.
    if (count > 19 && *first == '0') {
      --count;
      for (const char* z = fraction; z < p && *z == '0' && count > 0; ++z) --count;
    }
    exponent = static_cast<int>(std::max<std::ptrdiff_t>(fraction - p, -100000));
  }
  if (p < end && (*p == 'e' || *p == 'E')) {
    ++p;
    bool minus = false;
    if (p < end && (*p == '+' || *p == '-')) minus = *p++ == '-';
    if (p == end || !is_digit(*p)) return nullptr;
    int power = 0;
    for (; p < end && is_digit(*p); ++p) {
      if (power < 100000) power = power * 10 + (*p - '0');
    }
    exponent += minus ? -power : power;
  }
  out.digits = digits;
  out.exponent = exponent;
  out.exact = count <= 19;
  return p;
}

// The standard library's exact reader, for the few numbers the short ways do not cover.
double slow(const char* p, const char* end, const Scanned& seen) {
  double value = 0;
  const auto result = std::from_chars(p, end, value);
  if (result.ec != std::errc::result_out_of_range) return value;
  // Too small or too large? The library does not say; the exponent of the first digit does.
  const char* at = p + (seen.negative ? 1 : 0);
  std::ptrdiff_t magnitude = 0;
  bool in_fraction = false, begun = false;
  for (; at < end && (is_digit(*at) || *at == '.'); ++at) {
    if (*at == '.') {
      in_fraction = true;
    } else if (begun || *at != '0') {
      begun = true;
      if (!in_fraction) ++magnitude;
    } else if (in_fraction) {
      --magnitude;
    }
  }
  long power = 0;
  if (at < end) {
    ++at;
    const bool minus = *at == '-';
    if (*at == '-' || *at == '+') ++at;
    for (; at < end; ++at) {
      if (power < 100000000) power = power * 10 + (*at - '0');
    }
    if (minus) power = -power;
  }
  value = magnitude + power > 0 ? std::numeric_limits<double>::infinity() : 0.0;
  return seen.negative ? -value : value;
}

bool short_way(const Scanned& seen) { return seen.exact && seen.exponent >= -22 && seen.exponent <= 22; }

double scaled(const Scanned& seen) {
  const auto digits = static_cast<double>(seen.digits);
  const double value = seen.exponent < 0 ? digits / kTens[static_cast<std::size_t>(-seen.exponent)]
                                         : digits * kTens[static_cast<std::size_t>(seen.exponent)];
  const std::uint64_t sign = std::uint64_t{seen.negative} << 63;
  return std::bit_cast<double>(std::bit_cast<std::uint64_t>(value) | sign);
}

// Multiplies where scaled() divides: faster, but not the nearest double.
double approximate(const Scanned& seen) {
  static constexpr auto kPowers = [] {
    std::array<double, 45> powers{};
    for (std::size_t i = 0; i <= 22; ++i) {
      powers[22 + i] = kTens[i];
      powers[22 - i] = 1 / kTens[i];
    }
    return powers;
  }();
  const double value = static_cast<double>(seen.digits) * kPowers[static_cast<std::size_t>(seen.exponent + 22)];
  const std::uint64_t sign = std::uint64_t{seen.negative} << 63;
  return std::bit_cast<double>(std::bit_cast<std::uint64_t>(value) | sign);
}

}  // namespace

const char* read_double(const char* p, const char* end, double& value) {
  Scanned seen;
  const char* const after = scan(p, end, seen);
  if (after == nullptr) return nullptr;
  // Both operands are exact, so the one rounding is the right one.
  value = short_way(seen) && seen.digits <= (std::uint64_t{1} << 53) ? scaled(seen) : slow(p, after, seen);
  return after;
}

const char* read_float(const char* p, const char* end, float& value) {
  Scanned seen;
  const char* const after = scan(p, end, seen);
  if (after == nullptr) return nullptr;
  if (short_way(seen)) {
    // Within four units of the last place of the true value: three roundings. Unless it
    // lies that close to the middle between two floats, both round to the same float.
    const double near = approximate(seen);
    const std::uint64_t tail = std::bit_cast<std::uint64_t>(near) & ((std::uint64_t{1} << 29) - 1);
    const bool clear = tail - ((std::uint64_t{1} << 28) - 8) > 16;
    const double size = std::fabs(near);
    if ((clear && size > 1e-37 && size < 3e38) || seen.digits == 0) {
      value = static_cast<float>(near);
      return after;
    }
  }
  value = static_cast<float>(slow(p, after, seen));
  return after;
}

bool parse_json_double(std::string_view token, double& value) {
  const bool negative = token.starts_with('-');
  const std::string_view word = token.substr(negative ? 1 : 0);
  if (word.starts_with('N')) {
    value = std::numeric_limits<double>::quiet_NaN();
    return true;
  }
  if (word.starts_with('I')) {
    value = negative ? -std::numeric_limits<double>::infinity() : std::numeric_limits<double>::infinity();
    return true;
  }
  return read_double(token.data(), token.data() + token.size(), value) != nullptr && std::isfinite(value);
}

}  // namespace argosy::kserve
