#pragma once

// half: FP16 and BF16 elements to double and back, rounding to nearest, ties to even.
//
// Thread: pure functions; any.

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace argosy::kserve {

// A 16-bit float with `Fraction` fraction bits and 15 - Fraction exponent bits.
template <int Fraction>
struct Half {
  static constexpr int kBias = (1 << (14 - Fraction)) - 1;
  static constexpr std::uint16_t kInfinity = static_cast<std::uint16_t>(0x7fff >> Fraction << Fraction);

  static double widen(std::uint16_t bits) {
    const int biased = (bits & 0x7fff) >> Fraction;
    const int fraction = bits & ((1 << Fraction) - 1);
    const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
    if (biased == kInfinity >> Fraction) return fraction != 0 ? std::nan("") : sign * HUGE_VAL;
    const int whole = biased == 0 ? fraction : fraction | (1 << Fraction);
    return sign * std::ldexp(whole, (biased == 0 ? 1 : biased) - kBias - Fraction);
  }

  // Beyond the type: infinity.
  static std::uint16_t narrow(double value) {
    const auto sign = static_cast<std::uint16_t>(std::signbit(value) ? 0x8000 : 0);
    if (std::isnan(value)) return static_cast<std::uint16_t>(sign | kInfinity | (1 << (Fraction - 1)));
    const double size = std::fabs(value);
    if (std::isinf(size)) return static_cast<std::uint16_t>(sign | kInfinity);
    if (size == 0) return sign;
    // In units of the last place: nearbyint rounds as the type asks, and a carry into
    // the exponent is the right answer of itself.
    const int exponent = std::max(std::ilogb(size), 1 - kBias);
    if (exponent > kBias) return static_cast<std::uint16_t>(sign | kInfinity);
    const auto units = static_cast<std::uint32_t>(std::nearbyint(std::ldexp(size, Fraction - exponent)));
    const auto bits = units + (static_cast<std::uint32_t>(exponent + kBias - 1) << Fraction);
    return static_cast<std::uint16_t>(sign | bits);
  }
};
using Fp16 = Half<10>;
using Bf16 = Half<7>;

}  // namespace argosy::kserve
