#include "load/json.h"

#include <charconv>
#include <cstdio>

namespace argosy::load {
namespace {

constexpr int kMaxDepth = 64;

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  Result<Json> document() {
    Json value;
    if (!read(value, 0)) return fail();
    skip_space();
    if (at_ != text_.size()) {
      problem_ = "text after the value";
      return fail();
    }
    return value;
  }

 private:
  Status fail() const {
    return invalid_argument("JSON, byte " + std::to_string(at_) + ": " +
                            (problem_ ? problem_ : "unexpected character"));
  }

  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r'))
      ++at_;
  }
  bool take(char c) {
    skip_space();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool word(std::string_view w) {
    if (text_.substr(at_, w.size()) != w) return false;
    at_ += w.size();
    return true;
  }

  bool read(Json& to, int depth) {
    if (depth > kMaxDepth) {
      problem_ = "nested deeper than 64";
      return false;
    }
    skip_space();
    if (at_ >= text_.size()) {
      problem_ = "the text ends early";
      return false;
    }
    switch (text_[at_]) {
      case '{': return read_object(to, depth);
      case '[': return read_array(to, depth);
      case '"': to.kind = Json::Kind::string; return read_string(to.text);
      case 't':
        to.kind = Json::Kind::boolean;
        to.boolean = true;
        return word("true");
      case 'f': to.kind = Json::Kind::boolean; return word("false");
      case 'n': return word("null");
      default: return read_number(to);
    }
  }

  bool read_object(Json& to, int depth) {
    to.kind = Json::Kind::object;
    ++at_;
    if (take('}')) return true;
    do {
      skip_space();
      auto& [name, value] = to.members.emplace_back();
      if (at_ >= text_.size() || text_[at_] != '"' || !read_string(name) || !take(':') || !read(value, depth + 1))
        return false;
    } while (take(','));
    return take('}');
  }

  bool read_array(Json& to, int depth) {
    to.kind = Json::Kind::array;
    ++at_;
    if (take(']')) return true;
    do {
      if (!read(to.items.emplace_back(), depth + 1)) return false;
    } while (take(','));
    return take(']');
  }

  bool read_number(Json& to) {
    const std::size_t start = at_;
    while (at_ < text_.size() && std::string_view("+-0123456789.eE").find(text_[at_]) != std::string_view::npos) ++at_;
    to.kind = Json::Kind::number;
    to.text = text_.substr(start, at_ - start);
    double value = 0;
    const auto [end, error] = std::from_chars(to.text.data(), to.text.data() + to.text.size(), value);
    return !to.text.empty() && error != std::errc::invalid_argument && end == to.text.data() + to.text.size();
  }

  bool read_hex(unsigned& code) {
    if (at_ + 4 > text_.size()) return false;
    const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + at_ + 4, code, 16);
    if (error != std::errc() || end != text_.data() + at_ + 4) return false;
    at_ += 4;
    return true;
  }

  bool read_string(std::string& to) {
    to.clear();
    for (++at_; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == '"') {
        ++at_;
        return true;
      }
      if (c != '\\') {
        to += c;
        continue;
      }
      if (++at_ >= text_.size()) break;
      switch (text_[at_]) {
        case 'n': to += '\n'; break;
        case 't': to += '\t'; break;
        case 'r': to += '\r'; break;
        case 'b': to += '\b'; break;
        case 'f': to += '\f'; break;
        case 'u': {
          ++at_;
          unsigned code = 0;
          if (!read_hex(code)) return false;
          if (code >= 0xD800 && code < 0xDC00 && text_.substr(at_, 2) == "\\u") {
            at_ += 2;
            unsigned low = 0;
            if (!read_hex(low)) return false;
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
          }
          append_utf8(to, code);
          --at_;
          break;
        }
        case '"':
        case '\\':
        case '/': to += text_[at_]; break;
        default: return false;
      }
    }
    problem_ = "a string without its end";
    return false;
  }

  static void append_utf8(std::string& to, unsigned code) {
    if (code < 0x80) {
      to += static_cast<char>(code);
      return;
    }
    const int extra = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    constexpr unsigned kLead[] = {0, 0xC0, 0xE0, 0xF0};
    to += static_cast<char>(kLead[extra] | (code >> (6 * extra)));
    for (int i = extra - 1; i >= 0; --i) to += static_cast<char>(0x80 | ((code >> (6 * i)) & 0x3F));
  }

  std::string_view text_;
  std::size_t at_ = 0;
  const char* problem_ = nullptr;
};

}  // namespace

const Json* Json::find(std::string_view name) const {
  for (const auto& [key, value] : members) {
    if (key == name) return &value;
  }
  return nullptr;
}

double Json::number() const {
  double value = 0;
  if (is(Kind::number)) std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

std::int64_t Json::integer() const {
  std::int64_t value = 0;
  if (!is(Kind::number)) return 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? value : static_cast<std::int64_t>(number());
}

Result<Json> parse_json(std::string_view text) { return Reader(text).document(); }

void append_json_string(std::string& to, std::string_view value) {
  to += '"';
  for (const char c : value) {
    if (c == '"' || c == '\\') {
      to += '\\';
      to += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\u%04x", c);
      to += escaped;
    } else {
      to += c;
    }
  }
  to += '"';
}

}  // namespace argosy::load
