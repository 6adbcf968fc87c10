#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>

#include "kserve/decimal.h"

// The digits come from the Schubfach algorithm (R. Giulietti, "The Schubfach way to
// render doubles"): one 128-bit power of ten and three multiplications decide the
// shortest decimal in the rounding interval. Powers are kept for the exponents that
// tensors hold; beyond them the standard library writes the digits.

namespace argosy::kserve {
namespace {

constexpr int kLowestTen = -64;  // of the powers in the table
constexpr int kHighestTen = 64;

struct Wide {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
};

// A little-endian number of 512 bits, enough for 10^64 and for 2^(127+213) / 10^64.
using Big = std::array<std::uint32_t, 16>;

constexpr int bit_length(const Big& value) {
  for (std::size_t i = value.size(); i-- > 0;) {
    if (value[i] != 0) return static_cast<int>(i) * 32 + static_cast<int>(std::bit_width(value[i]));
  }
  return 0;
}

constexpr bool bit_at(const Big& value, int bit) {
  return bit >= 0 && ((value[static_cast<std::size_t>(bit / 32)] >> (bit % 32)) & 1u) != 0;
}

// The top 128 bits of `value`; `exact` tells whether nothing was cut off before.
constexpr Wide top_bits(const Big& value, bool exact) {
  const int length = bit_length(value);
  Wide out;
  for (int i = 0; i < 128; ++i) {
    const std::uint64_t bit = bit_at(value, length - 1 - i) ? 1 : 0;
    if (i < 64) {
      out.high = (out.high << 1) | bit;
    } else {
      out.low = (out.low << 1) | bit;
    }
  }
  for (int bit = length - 129; bit >= 0 && exact; --bit) exact = !bit_at(value, bit);
  // Rounded up: the algorithm wants the least number not below the power.
  if (!exact && ++out.low == 0) ++out.high;
  return out;
}

constexpr auto make_powers() {
  std::array<Wide, kHighestTen - kLowestTen + 1> powers{};
  Big value{};
  value[0] = 1;
  for (int ten = 0; ten <= kHighestTen; ++ten) {
    powers[static_cast<std::size_t>(ten - kLowestTen)] = top_bits(value, true);
    std::uint64_t carry = 0;
    for (auto& limb : value) {
      carry += std::uint64_t{limb} * 10;
      limb = static_cast<std::uint32_t>(carry);
      carry >>= 32;
    }
  }
  value = {};
  value[15] = 1u << 31;  // 2^511; dividing by ten again and again floors like one division
  for (int ten = -1; ten >= kLowestTen; --ten) {
    std::uint64_t rest = 0;
    for (std::size_t i = value.size(); i-- > 0;) {
      rest = (rest << 32) | value[i];
      value[i] = static_cast<std::uint32_t>(rest / 10);
      rest %= 10;
    }
    powers[static_cast<std::size_t>(ten - kLowestTen)] = top_bits(value, false);
  }
  return powers;
}
constexpr auto kPowers = make_powers();

struct Decimal {
  std::uint64_t digits = 0;
  int exponent = 0;
};

__extension__ using Product = unsigned __int128;

std::uint64_t round_to_odd(const Wide& g, std::uint64_t c) {
  const Product low = Product{g.low} * c;
  const Product high = Product{g.high} * c + static_cast<std::uint64_t>(low >> 64);
  const auto rest = static_cast<std::uint64_t>(high);
  return static_cast<std::uint64_t>(high >> 64) | (rest > 1 ? 1u : 0u);
}

// False: the power of ten is not in the table.
bool shortest(std::uint64_t fraction, int biased, Decimal& out) {
  const std::uint64_t c = biased == 0 ? fraction : (std::uint64_t{1} << 52) | fraction;
  const int q = (biased == 0 ? 1 : biased) - 1075;
  if (q <= 0 && q > -53 && (c & ((std::uint64_t{1} << -q) - 1)) == 0) {
    out = {c >> -q, 0};
    return true;
  }
  const bool even = (c & 1) == 0;
  const bool closer = fraction == 0 && biased > 1;  // the neighbour below is half as far
  const int k = (q * 1262611 - (closer ? 524031 : 0)) >> 22;
  if (-k < kLowestTen || -k > kHighestTen) return false;
  const int h = q + ((-k * 1741647) >> 19) + 1;
  const Wide& g = kPowers[static_cast<std::size_t>(-k - kLowestTen)];
  const std::uint64_t below = round_to_odd(g, (4 * c - 2 + (closer ? 1 : 0)) << h);
  const std::uint64_t here = round_to_odd(g, (4 * c) << h);
  const std::uint64_t above = round_to_odd(g, (4 * c + 2) << h);
  const std::uint64_t lower = below + (even ? 0 : 1);
  const std::uint64_t upper = above - (even ? 0 : 1);

  const std::uint64_t s = here / 4;
  if (s >= 10) {
    const std::uint64_t tens = s / 10;
    const bool down = lower <= 40 * tens;
    const bool up = 40 * tens + 40 <= upper;
    if (down != up) {
      out = {tens + (up ? 1 : 0), k + 1};
      return true;
    }
  }
  const bool down = lower <= 4 * s;
  const bool up = 4 * s + 4 <= upper;
  if (down != up) {
    out = {s + (up ? 1 : 0), k};
    return true;
  }
  const std::uint64_t middle = 4 * s + 2;
  const bool round_up = here > middle || (here == middle && (s & 1) != 0);
  out = {s + (round_up ? 1 : 0), k};
  return true;
}

Decimal by_library(double value) {
  std::array<char, 40> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::scientific).ptr;
  Decimal out;
  const char* p = text.data();
  int after_point = 0;
  for (bool point = false; *p != 'e'; ++p) {
    if (*p == '.') {
      point = true;
    } else {
      out.digits = out.digits * 10 + static_cast<std::uint64_t>(*p - '0');
      if (point) ++after_point;
    }
  }
  ++p;
  if (*p == '+') ++p;
  int power = 0;
  std::from_chars(p, end, power);
  out.exponent = power - after_point;
  return out;
}

// Eight digits as eight bytes 0..9, the first digit lowest: halves, pairs, digits,
// each split for all lanes at once.
std::uint64_t spread_eight(std::uint32_t value) {
  const std::uint64_t halves = (value / 10000) | (std::uint64_t{value % 10000} << 32);
  const std::uint64_t hundreds = ((halves * 10486) >> 20) & 0x0000007f0000007f;
  const std::uint64_t pairs = hundreds | ((halves - 100 * hundreds) << 16);
  const std::uint64_t tens = ((pairs * 103) >> 10) & 0x000f000f000f000f;
  return tens | ((pairs - 10 * tens) << 8);
}

constexpr std::array<std::uint64_t, 20> kTenTo = [] {
  std::array<std::uint64_t, 20> tens{};
  std::uint64_t ten = 1;
  for (auto& t : tens) {
    t = ten;
    ten *= 10;
  }
  return tens;
}();

int digit_count(std::uint64_t value) {
  const int guess = static_cast<int>(std::bit_width(value | 1)) * 1233 >> 12;
  return guess + (value >= kTenTo[static_cast<std::size_t>(guess)] ? 1 : 0);
}

constexpr int kDigits = 17;  // no double needs more

// A number as its seventeen digits from the left, in registers: text is only ever
// stored, because reading back what was just stored in smaller parts stalls.
struct Spread {
  char first = 0;
  std::uint64_t middle = 0, last = 0;  // eight digits each, as text
  int count = 0;                       // without the zeros at the end

  explicit Spread(std::uint64_t seventeen) {
    constexpr std::uint64_t kEight = 100000000;
    const std::uint64_t high = seventeen / kEight;
    const std::uint64_t middle_digits = spread_eight(static_cast<std::uint32_t>(high % kEight));
    const std::uint64_t last_digits = spread_eight(static_cast<std::uint32_t>(seventeen % kEight));
    first = static_cast<char>('0' + high / kEight);
    middle = middle_digits | 0x3030303030303030;
    last = last_digits | 0x3030303030303030;
    count = kDigits - (last_digits != 0 ? std::countl_zero(last_digits) / 8 : 8 + std::countl_zero(middle_digits) / 8);
  }
  void store_rest(char* to) const {
    std::memcpy(to, &middle, 8);
    std::memcpy(to + 8, &last, 8);
  }
  void store(char* to) const {
    to[0] = first;
    store_rest(to + 1);
  }
};

char* write_exponent(char* to, int exponent) {
  *to++ = 'e';
  return std::to_chars(to, to + 6, exponent).ptr;
}

// The notation V2 servers use: plain up to 21 places before the point and 6 zeros
// behind it, powers beyond.
char* place_point(char* to, Decimal decimal) {
  const int length = digit_count(decimal.digits);
  const int point = length + decimal.exponent;  // digits before the point
  const Spread digits(decimal.digits * kTenTo[static_cast<std::size_t>(kDigits - length)]);
  if (point == 1) {
    to[0] = digits.first;
    to[1] = '.';
    digits.store_rest(to + 2);  // at least one zero stands behind the point
    return to + 1 + std::max(digits.count, 2);
  }
  if (point > -6 && point <= 0) {
    std::memcpy(to, "0.000000", 8);
    digits.store(to + 2 - point);
    return to + 2 - point + digits.count;
  }
  if (point > 1 && point <= 21) {
    digits.store(to);
    if (digits.count <= point) {
      std::memset(to + digits.count, '0', static_cast<std::size_t>(point - digits.count));
      std::memcpy(to + point, ".0", 2);
      return to + point + 2;
    }
    std::array<char, kDigits> behind;
    std::memcpy(behind.data(), to + point, behind.size());
    std::memcpy(to + point + 1, behind.data(), behind.size());
    to[point] = '.';
    return to + digits.count + 1;
  }
  to[0] = digits.first;
  if (digits.count == 1) return write_exponent(to + 1, point - 1);
  to[1] = '.';
  digits.store_rest(to + 2);
  return write_exponent(to + digits.count + 1, point - 1);
}

char* write_word(char* to, std::string_view word) {
  std::memcpy(to, word.data(), word.size());
  return to + word.size();
}

}  // namespace

char* write_double(char* to, double value) {
  const auto bits = std::bit_cast<std::uint64_t>(value);
  const std::uint64_t fraction = bits & ((std::uint64_t{1} << 52) - 1);
  const int biased = static_cast<int>((bits >> 52) & 0x7ff);
  if (biased == 0x7ff && fraction != 0) return write_word(to, "NaN");
  *to = '-';
  to += bits >> 63;  // half of a tensor is negative: no branch can foresee a sign
  if (biased == 0x7ff) return write_word(to, "Infinity");
  if (biased == 0 && fraction == 0) return write_word(to, "0.0");
  Decimal decimal;
  if (!shortest(fraction, biased, decimal)) decimal = by_library(std::fabs(value));
  return place_point(to, decimal);
}

}  // namespace argosy::kserve
