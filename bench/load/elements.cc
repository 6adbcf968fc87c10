#include "load/elements.h"

#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <utility>

namespace argosy::load {
namespace {

constexpr std::string_view kBase64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr std::array<std::pair<std::string_view, std::size_t>, 14> kDatatypes{{
    {"BOOL", 1},
    {"UINT8", 1},
    {"UINT16", 2},
    {"UINT32", 4},
    {"UINT64", 8},
    {"INT8", 1},
    {"INT16", 2},
    {"INT32", 4},
    {"INT64", 8},
    {"FP16", 2},
    {"BF16", 2},
    {"FP32", 4},
    {"FP64", 8},
    {"BYTES", 0},
}};

float half_to_float(std::uint16_t bits) {
  const float sign = (bits & 0x8000) != 0 ? -1.0F : 1.0F;
  const int exponent = (bits >> 10) & 0x1F;
  const auto mantissa = static_cast<float>(bits & 0x3FF);
  if (exponent == 0) return sign * std::ldexp(mantissa, -24);
  if (exponent == 31) return mantissa == 0 ? sign * INFINITY : NAN;
  return sign * std::ldexp(1024.0F + mantissa, exponent - 25);
}

// Round to nearest even, by way of the two neighbours a truncation leaves.
std::uint16_t float_to_half(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000);
  const float size = std::fabs(value);
  if (std::isnan(value)) return static_cast<std::uint16_t>(sign | 0x7E00);
  if (size >= 65520.0F) return static_cast<std::uint16_t>(sign | 0x7C00);
  if (size < 0x1p-14F)
    return static_cast<std::uint16_t>(sign | static_cast<std::uint16_t>(std::nearbyint(std::ldexp(size, 24))));
  int exponent = 0;
  const float fraction = std::frexp(size, &exponent);                                        // [0.5, 1)
  const auto scaled = static_cast<std::uint32_t>(std::nearbyint(std::ldexp(fraction, 11)));  // [1024, 2048]
  return static_cast<std::uint16_t>(sign + ((static_cast<std::uint32_t>(exponent + 14) << 10) + scaled - 1024));
}

std::uint16_t float_to_bfloat(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<std::uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

template <class T>
T load_as(std::string_view bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

template <class T>
void append_as(std::string& to, T value) {
  to.append(reinterpret_cast<const char*>(&value), sizeof value);
}

template <class T>
void append_number(std::string& to, T value) {
  char text[40];
  const auto [end, error] = std::to_chars(text, text + sizeof text, value);
  if (error == std::errc()) to.append(text, end);
}

template <class T>
bool append_parsed(std::string& to, const Json& element) {
  T value{};
  if (element.kind != Json::Kind::number) return false;
  const char* last = element.text.data() + element.text.size();
  const auto [end, error] = std::from_chars(element.text.data(), last, value);
  if (error != std::errc() || end != last) return false;
  append_as(to, value);
  return true;
}

bool append_element(std::string& to, std::string_view datatype, const Json& e) {
  if (datatype == "BYTES") {
    if (!e.is(Json::Kind::string)) return false;
    append_as(to, static_cast<std::uint32_t>(e.text.size()));
    to += e.text;
    return true;
  }
  if (datatype == "BOOL") {
    const bool is_number = e.is(Json::Kind::number);
    if (!is_number && !e.is(Json::Kind::boolean)) return false;
    to += static_cast<char>(is_number ? e.number() != 0 : e.boolean);
    return true;
  }
  if (datatype == "FP32") return append_parsed<float>(to, e);
  if (datatype == "FP64") return append_parsed<double>(to, e);
  if (datatype == "INT8") return append_parsed<std::int8_t>(to, e);
  if (datatype == "INT16") return append_parsed<std::int16_t>(to, e);
  if (datatype == "INT32") return append_parsed<std::int32_t>(to, e);
  if (datatype == "INT64") return append_parsed<std::int64_t>(to, e);
  if (datatype == "UINT8") return append_parsed<std::uint8_t>(to, e);
  if (datatype == "UINT16") return append_parsed<std::uint16_t>(to, e);
  if (datatype == "UINT32") return append_parsed<std::uint32_t>(to, e);
  if (datatype == "UINT64") return append_parsed<std::uint64_t>(to, e);
  if (!e.is(Json::Kind::number)) return false;
  const auto value = static_cast<float>(e.number());
  append_as(to, datatype == "FP16" ? float_to_half(value) : float_to_bfloat(value));
  return true;
}

Status append_flattened(std::string& to, std::string_view datatype, const Json& data) {
  if (data.is(Json::Kind::array)) {
    for (const Json& item : data.items) {
      if (auto status = append_flattened(to, datatype, item); !status.ok()) return status;
    }
    return {};
  }
  if (append_element(to, datatype, data)) return {};
  return invalid_argument("element '" + data.text + "' is no " + std::string(datatype) + " value");
}

}  // namespace

std::size_t element_size(std::string_view datatype) {
  for (const auto& [name, size] : kDatatypes) {
    if (name == datatype) return size;
  }
  return 0;
}

bool is_datatype(std::string_view name) {
  for (const auto& [known, size] : kDatatypes) {
    if (known == name) return true;
  }
  return false;
}

void append_elements_as_json(std::string& to, std::string_view datatype, std::string_view bytes) {
  if (datatype == "BYTES") {
    for (std::size_t at = 0; at + 4 <= bytes.size();) {
      const auto size = load_as<std::uint32_t>(bytes, at);
      if (at != 0) to += ',';
      append_json_string(to, bytes.substr(at + 4, size));
      at += 4 + size;
    }
    return;
  }
  const std::size_t step = element_size(datatype);
  for (std::size_t at = 0; step != 0 && at + step <= bytes.size(); at += step) {
    if (at != 0) to += ',';
    if (datatype == "BOOL")
      to += bytes[at] != 0 ? "true" : "false";
    else if (datatype == "FP32")
      append_number(to, load_as<float>(bytes, at));
    else if (datatype == "FP64")
      append_number(to, load_as<double>(bytes, at));
    else if (datatype == "FP16")
      append_number(to, half_to_float(load_as<std::uint16_t>(bytes, at)));
    else if (datatype == "BF16")
      append_number(to, std::bit_cast<float>(std::uint32_t{load_as<std::uint16_t>(bytes, at)} << 16));
    else if (datatype == "INT8")
      append_number(to, static_cast<int>(load_as<std::int8_t>(bytes, at)));
    else if (datatype == "INT16")
      append_number(to, load_as<std::int16_t>(bytes, at));
    else if (datatype == "INT32")
      append_number(to, load_as<std::int32_t>(bytes, at));
    else if (datatype == "INT64")
      append_number(to, load_as<std::int64_t>(bytes, at));
    else if (datatype == "UINT8")
      append_number(to, static_cast<int>(load_as<std::uint8_t>(bytes, at)));
    else if (datatype == "UINT16")
      append_number(to, load_as<std::uint16_t>(bytes, at));
    else if (datatype == "UINT32")
      append_number(to, load_as<std::uint32_t>(bytes, at));
    else
      append_number(to, load_as<std::uint64_t>(bytes, at));
  }
}

Result<std::string> elements_from_json(std::string_view datatype, const Json& data) {
  if (!is_datatype(datatype)) return invalid_argument("'" + std::string(datatype) + "' is no V2 datatype");
  std::string bytes;
  if (auto status = append_flattened(bytes, datatype, data); !status.ok()) return status;
  return bytes;
}

Result<std::string> bytes_from_base64(std::string_view text) {
  std::string bytes;
  std::uint32_t held = 0;
  int bits = 0;
  for (const char c : text) {
    if (c == '=') break;
    const auto digit = kBase64.find(c);
    if (digit == std::string_view::npos) return invalid_argument(std::string("'") + c + "' is no base64 digit");
    held = held << 6 | static_cast<std::uint32_t>(digit);
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes += static_cast<char>(held >> bits & 0xFF);
  }
  return bytes;
}

std::string bytes_as_base64(std::string_view bytes) {
  std::string text;
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    std::uint32_t held = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      held = held << 8 | (at + i < bytes.size() ? static_cast<std::uint8_t>(bytes[at + i]) : 0u);
    }
    for (std::size_t i = 0; i < 4; ++i) {
      const bool padding = at + i > bytes.size();
      text += padding ? '=' : kBase64[held >> (18 - 6 * i) & 0x3F];
    }
  }
  return text;
}

}  // namespace argosy::load
