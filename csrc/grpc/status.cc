#include "grpc/status.h"

#include <array>

namespace argosy::grpc {
namespace {

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

bool is_plain(char c) { return c >= 0x20 && c <= 0x7e && c != '%'; }

std::size_t encoded_size(char c) { return is_plain(c) ? 1 : 3; }

// Of a UTF-8 character that began before.
bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

}  // namespace

Code code_of(StatusCode code) {
  switch (code) {
    case StatusCode::ok: return Code::ok;
    case StatusCode::invalid_argument: return Code::invalid_argument;
    case StatusCode::not_found: return Code::not_found;
    case StatusCode::already_exists: return Code::already_exists;
    case StatusCode::unavailable: return Code::unavailable;
    case StatusCode::deadline_exceeded: return Code::deadline_exceeded;
    case StatusCode::cancelled: return Code::cancelled;
    case StatusCode::unsupported: return Code::unimplemented;
    case StatusCode::resource_exhausted: return Code::resource_exhausted;
    case StatusCode::internal: return Code::internal;
  }
  return Code::unknown;
}

std::string_view to_digits(Code code) {
  static constexpr std::array<std::string_view, 15> digits{"0", "1", "2",  "3",  "4",  "5",  "6", "7",
                                                           "8", "9", "10", "11", "12", "13", "14"};
  return digits[static_cast<std::size_t>(code)];
}

std::string percent_encode(std::string_view text) {
  static constexpr std::string_view digits = "0123456789ABCDEF";
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (is_plain(c)) {
      out += c;
    } else {
      out += '%';
      out += digits[byte >> 4];
      out += digits[byte & 15];
    }
  }
  return out;
}

std::string message_value(std::string_view text) {
  constexpr std::size_t kHalf = kLongestMessage / 2;
  constexpr std::size_t kAround = 64;  // for the words in the middle
  // Three bytes for one at most, so what is far too long need not be encoded to know it.
  if (text.size() <= kLongestMessage) {
    if (std::string whole = percent_encode(text); whole.size() <= kLongestMessage) return whole;
  }
  std::size_t head = 0, tail = 0;
  for (std::size_t used = 0; head < text.size(); ++head) {
    used += encoded_size(text[head]);
    if (used > kHalf - kAround) break;
  }
  for (std::size_t used = 0; tail < text.size() - head; ++tail) {
    used += encoded_size(text[text.size() - 1 - tail]);
    if (used > kHalf - kAround) break;
  }
  while (head > 0 && is_continuation(text[head])) --head;
  while (tail > 0 && is_continuation(text[text.size() - tail])) --tail;
  return percent_encode(text.substr(0, head)) + " ... " + std::to_string(text.size() - head - tail) +
         " bytes more ... " + percent_encode(text.substr(text.size() - tail));
}

std::string percent_decode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const int high = text[i] == '%' && i + 2 < text.size() ? hex_value(text[i + 1]) : -1;
    const int low = high >= 0 ? hex_value(text[i + 2]) : -1;
    if (low < 0) {
      out += text[i];
    } else {
      out += static_cast<char>(high * 16 + low);
      i += 2;
    }
  }
  return out;
}

}  // namespace argosy::grpc
