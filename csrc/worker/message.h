#pragma once

// Messages between the server and a worker: numbers and texts, little-endian, one
// after another. Writer builds one; Reader takes one apart that is not trusted: past
// the end it gives zeros and fails(), which is asked once, at the end.
//
// Thread: values; any.

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

namespace argosy::worker {

static_assert(std::endian::native == std::endian::little, "messages are written as the machine stores numbers");

class Writer {
 public:
  template <class T>
  Writer& number(T value) {
    text_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Writer& raw(std::string_view bytes) {
    text_.append(bytes);
    return *this;
  }
  Writer& text(std::string_view bytes) { return number(static_cast<std::uint32_t>(bytes.size())).raw(bytes); }
  Writer& align(std::size_t to) {
    text_.resize((text_.size() + to - 1) / to * to);
    return *this;
  }
  std::span<const std::byte> bytes() const { return std::as_bytes(std::span(text_)); }
  std::size_t size() const { return text_.size(); }
  void clear() { text_.clear(); }
  void cut(std::size_t size) { text_.resize(size); }  // size <= size()
  template <class T>
  void patch(std::size_t at, T value) {
    std::memcpy(text_.data() + at, &value, sizeof value);
  }

 private:
  std::string text_;
};

class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}

  template <class T>
  T number() {
    T value{};
    if (const auto from = raw(sizeof value); from.size() == sizeof value)
      std::memcpy(&value, from.data(), sizeof value);
    return value;
  }
  std::string_view raw(std::size_t size) {
    if (failed_ || size > bytes_.size() - at_) {
      failed_ = true;
      return {};
    }
    const auto found = bytes_.substr(at_, size);
    at_ += size;
    return found;
  }
  std::string_view text() { return raw(number<std::uint32_t>()); }
  void align(std::size_t to) {
    const std::size_t next = (at_ + to - 1) / to * to;
    raw(next - at_);
  }
  std::size_t at() const { return at_; }
  bool failed() const { return failed_; }

 private:
  std::string_view bytes_;
  std::size_t at_ = 0;
  bool failed_ = false;
};

}  // namespace argosy::worker
