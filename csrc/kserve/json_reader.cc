#include "kserve/json_reader.h"

#include <array>
#include <charconv>

#include "kserve/decimal.h"

namespace argosy::kserve {
namespace {

void append_utf8(std::string& to, std::uint32_t c) {
  if (c < 0x80) {
    to += static_cast<char>(c);
  } else if (c < 0x800) {
    to += static_cast<char>(0xc0 | (c >> 6));
    to += static_cast<char>(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    to += static_cast<char>(0xe0 | (c >> 12));
    to += static_cast<char>(0x80 | ((c >> 6) & 0x3f));
    to += static_cast<char>(0x80 | (c & 0x3f));
  } else {
    to += static_cast<char>(0xf0 | (c >> 18));
    to += static_cast<char>(0x80 | ((c >> 12) & 0x3f));
    to += static_cast<char>(0x80 | ((c >> 6) & 0x3f));
    to += static_cast<char>(0x80 | (c & 0x3f));
  }
}

bool hex4(std::string_view text, std::uint32_t& value) {
  if (text.size() < 4) return false;
  const auto [end, error] = std::from_chars(text.data(), text.data() + 4, value, 16);
  return error == std::errc() && end == text.data() + 4;
}

}  // namespace

std::string_view to_string(JsonKind kind) {
  constexpr std::array<std::string_view, 7> kNames{"an object", "an array", "a string", "a number",
                                                   "a boolean", "null",     "no value"};
  return kNames[static_cast<std::size_t>(kind)];
}

const char* json_number_end(const char* p, const char* end) {
  if (p < end && *p == '-') ++p;
  if (p == end || !is_digit(*p)) return nullptr;
  if (*p == '0') {
    ++p;
    if (p < end && is_digit(*p)) return nullptr;
  } else {
    while (p < end && is_digit(*p)) ++p;
  }
  if (p < end && *p == '.') {
    ++p;
    if (p == end || !is_digit(*p)) return nullptr;
    while (p < end && is_digit(*p)) ++p;
  }
  if (p < end && (*p == 'e' || *p == 'E')) {
    ++p;
    if (p < end && (*p == '+' || *p == '-')) ++p;
    if (p == end || !is_digit(*p)) return nullptr;
    while (p < end && is_digit(*p)) ++p;
  }
  return p;
}

bool JsonReader::fail(Status status) {
  if (error_.ok()) error_ = std::move(status);
  return false;
}

bool JsonReader::fail_syntax(std::string_view reason) {
  if (!error_.ok()) return false;
  return fail(invalid_argument("failed to parse the request JSON buffer: " + std::string(reason) + " at " +
                               std::to_string(offset())));
}

bool JsonReader::fail_expected(std::string_view expected) {
  if (!error_.ok()) return false;
  const JsonKind found = peek();
  if (found == JsonKind::nothing) return fail_syntax("expected " + std::string(expected));
  return fail(invalid_argument("Unable to parse '" + std::string(place_) + "': expected " + std::string(expected) +
                               ", got " + std::string(to_string(found)) + " at offset " + std::to_string(offset())));
}

JsonKind JsonReader::peek() {
  blanks();
  if (p_ == end_) return JsonKind::nothing;
  switch (*p_) {
    case '{': return JsonKind::object;
    case '[': return JsonKind::array;
    case '"': return JsonKind::string;
    case 't':
    case 'f': return JsonKind::boolean;
    case 'n': return JsonKind::null;
    case '-':
    case 'N':
    case 'I': return JsonKind::number;
    default: return is_digit(*p_) ? JsonKind::number : JsonKind::nothing;
  }
}

bool JsonReader::enter_object() {
  if (!ok()) return false;
  if (peek() != JsonKind::object) return fail_expected("an object");
  ++p_;
  first_ = true;
  return true;
}

bool JsonReader::enter_array() {
  if (!ok()) return false;
  if (peek() != JsonKind::array) return fail_expected("an array");
  ++p_;
  first_ = true;
  return true;
}

bool JsonReader::next_key(std::string_view& key) {
  if (!ok()) return false;
  blanks();
  if (p_ < end_ && *p_ == '}') {
    ++p_;
    first_ = false;
    return false;
  }
  if (!first_) {
    if (p_ == end_ || *p_ != ',') return fail_syntax("expected ',' or '}' after an object member");
    ++p_;
    blanks();
  }
  first_ = false;
  if (p_ == end_ || *p_ != '"') return fail_syntax("expected a member name in double quotes");
  if (!string_token(key, key_scratch_)) return false;
  blanks();
  if (p_ == end_ || *p_ != ':') return fail_syntax("expected ':' after a member name");
  ++p_;
  return true;
}

bool JsonReader::next_element() {
  if (!ok()) return false;
  blanks();
  if (p_ < end_ && *p_ == ']') {
    ++p_;
    first_ = false;
    return false;
  }
  if (!first_) {
    if (p_ == end_ || *p_ != ',') return fail_syntax("expected ',' or ']' after an array element");
    ++p_;
  }
  first_ = false;
  return true;
}

bool JsonReader::string_token(std::string_view& value, std::string& scratch) {
  const char* const start = ++p_;
  bool escaped = false;
  for (; p_ < end_; ++p_) {
    const auto c = static_cast<unsigned char>(*p_);
    if (c == '"') {
      const std::string_view raw(start, static_cast<std::size_t>(p_ - start));
      ++p_;
      if (!escaped) {
        value = raw;
        return true;
      }
      if (!unescape(raw, scratch)) return false;
      value = scratch;
      return true;
    }
    if (c == '\\') {
      escaped = true;
      if (++p_ == end_) break;
    } else if (c < 0x20) {
      return fail_syntax("control character in a string");
    }
  }
  return fail_syntax("string without an end");
}

bool JsonReader::unescape(std::string_view raw, std::string& to) {
  to.clear();
  for (std::size_t i = 0; i < raw.size(); ++i) {
    if (raw[i] != '\\') {
      to += raw[i];
      continue;
    }
    switch (raw[++i]) {
      case '"': to += '"'; break;
      case '\\': to += '\\'; break;
      case '/': to += '/'; break;
      case 'b': to += '\b'; break;
      case 'f': to += '\f'; break;
      case 'n': to += '\n'; break;
      case 'r': to += '\r'; break;
      case 't': to += '\t'; break;
      case 'u': {
        std::uint32_t code = 0;
        if (!hex4(raw.substr(i + 1), code)) return fail_syntax("\\u needs four hexadecimal digits");
        i += 4;
        if (code >= 0xd800 && code < 0xe000) {
          std::uint32_t low = 0;
          const bool pair = code < 0xdc00 && raw.substr(i + 1).starts_with("\\u") && hex4(raw.substr(i + 3), low) &&
                            low >= 0xdc00 && low < 0xe000;
          if (!pair) return fail_syntax("half a surrogate pair in a string");
          i += 6;
          code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        }
        append_utf8(to, code);
        break;
      }
      default: return fail_syntax("unknown escape in a string");
    }
  }
  return true;
}

bool JsonReader::read_string(std::string_view& value) {
  if (!ok()) return false;
  if (peek() != JsonKind::string) return fail_expected("a string");
  return string_token(value, value_scratch_);
}

bool JsonReader::literal(std::string_view word) {
  if (static_cast<std::size_t>(end_ - p_) < word.size() || std::string_view(p_, word.size()) != word) {
    return false;
  }
  p_ += word.size();
  return true;
}

bool JsonReader::read_bool(bool& value) {
  if (!ok()) return false;
  if (peek() != JsonKind::boolean) return fail_expected("true or false");
  if (literal("true")) {
    value = true;
  } else if (literal("false")) {
    value = false;
  } else {
    return fail_syntax("invalid literal");
  }
  return true;
}

bool JsonReader::number_token(std::string_view& token) {
  if (!ok()) return false;
  if (peek() != JsonKind::number) return fail_expected("a number");
  const char* const start = p_;
  for (const std::string_view word : {"NaN", "-NaN", "Infinity", "-Infinity", "Inf", "-Inf"}) {
    if (literal(word)) {
      token = word;
      return true;
    }
  }
  const char* const end = json_number_end(p_, end_);
  if (end == nullptr) return fail_syntax("invalid number");
  p_ = end;
  token = {start, static_cast<std::size_t>(end - start)};
  return true;
}

bool JsonReader::read_u64(std::uint64_t& value) {
  if (!ok()) return false;
  if (peek() != JsonKind::number) return fail_expected("a non-negative integer");
  const char* const start = p_;
  std::string_view token;
  if (!number_token(token)) return false;
  const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), value);
  if (error == std::errc() && end == token.data() + token.size()) return true;
  p_ = start;
  return fail(invalid_argument("Unable to parse '" + std::string(place_) + "': expected a non-negative integer, got " +
                               std::string(token.substr(0, 40)) + " at offset " + std::to_string(offset())));
}

bool JsonReader::read_double(double& value) {
  std::string_view token;
  if (!number_token(token)) return false;
  if (parse_json_double(token, value)) return true;
  return fail(invalid_argument("Unable to parse '" + std::string(place_) + "': the number " +
                               std::string(token.substr(0, 40)) + " is too large, at offset " +
                               std::to_string(offset())));
}

bool JsonReader::skip_string() {
  for (++p_; p_ < end_; ++p_) {
    const auto c = static_cast<unsigned char>(*p_);
    if (c == '"') {
      ++p_;
      return true;
    }
    if (c == '\\' && ++p_ == end_) break;
    if (c < 0x20) return fail_syntax("control character in a string");
  }
  return fail_syntax("string without an end");
}

bool JsonReader::skip() {
  if (!ok()) return false;
  std::array<bool, kMaxDepth> is_object;  // of each open bracket
  std::size_t depth = 0;
  for (;;) {
    // A value begins here.
    switch (peek()) {
      case JsonKind::object:
      case JsonKind::array: {
        if (depth == kMaxDepth) {
          return fail(invalid_argument("JSON nesting depth exceeds maximum allowed limit (" +
                                       std::to_string(kMaxDepth) + ") at offset " + std::to_string(offset())));
        }
        const bool object = *p_++ == '{';
        is_object[depth++] = object;
        first_ = true;
        break;
      }
      case JsonKind::string:
        if (!skip_string()) return false;
        break;
      case JsonKind::number: {
        std::string_view token;
        if (!number_token(token)) return false;
        break;
      }
      case JsonKind::boolean: {
        bool value = false;
        if (!read_bool(value)) return false;
        break;
      }
      case JsonKind::null:
        if (!literal("null")) return fail_syntax("invalid literal");
        break;
      case JsonKind::nothing: return fail_syntax("expected a value");
    }
    // Close what ends here; then the next value begins.
    for (;;) {
      if (depth == 0) return true;
      std::string_view key;
      if (is_object[depth - 1] ? next_key(key) : next_element()) break;
      if (!ok()) return false;
      --depth;
    }
  }
}

bool JsonReader::at_end() {
  if (!ok()) return false;
  blanks();
  return p_ == end_ || fail_syntax("unexpected text after the JSON document");
}

}  // namespace argosy::kserve
