#pragma once

// JsonReader: a cursor over JSON text, for decoders that know what they expect.
//
// No tree, no recursion, no padding, nothing allocated but a string that contains
// escapes; depth is bounded. It reads what V2 servers read: RFC 8259, plus the bare
// literals NaN, Infinity, Inf and their negatives where a number is wanted; bytes
// above 0x7f pass as they are. A string must not hold control characters.
//
// After the first failure every call returns false, and status() names the offset,
// the place (as last told by at()), what was expected and what was there.
//
//   reader.enter_object();
//   while (reader.next_key(key)) { reader.at(key); ... read or skip() the value ... }
//   if (!reader.ok()) return reader.status();
//
// Thread: one at a time; the text must outlive the reader and its views.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace argosy::kserve {

enum class JsonKind : std::uint8_t { object, array, string, number, boolean, null, nothing };

class JsonReader {
 public:
  static constexpr std::size_t kMaxDepth = 100;

  explicit JsonReader(std::string_view text) : begin_(text.data()), p_(begin_), end_(begin_ + text.size()) {}

  bool ok() const { return error_.ok(); }
  const Status& status() const { return error_; }
  std::size_t offset() const { return static_cast<std::size_t>(p_ - begin_); }

  // Where the reader is, for messages: a field's name. The view must stay alive.
  void at(std::string_view place) { place_ = place; }

  JsonKind peek();  // of the value that comes next; moves over blanks only

  bool enter_object();
  bool next_key(std::string_view& key);  // the view is good until the next string is read
  bool enter_array();
  bool next_element();

  bool read_string(std::string_view& value);  // likewise
  bool read_bool(bool& value);
  bool read_u64(std::uint64_t& value);  // a non-negative integer token
  bool read_double(double& value);

  bool skip();    // one value of any kind, nested to kMaxDepth
  bool at_end();  // only blanks are left; anything else is a failure

  // A number token of any kind, uninterpreted; literals NaN and Infinity count.
  bool number_token(std::string_view& token);

  // For loops that read elements by themselves, at full speed.
  const char* cursor() const { return p_; }
  const char* end() const { return end_; }
  void move_to(const char* p) { p_ = p; }

  bool fail_syntax(std::string_view reason);
  bool fail_expected(std::string_view expected);  // the value at the cursor has another type
  bool fail(Status status);                       // a failure in the caller's own words

 private:
  void blanks() {
    while (p_ < end_ && (*p_ == ' ' || *p_ == '\n' || *p_ == '\r' || *p_ == '\t')) ++p_;
  }
  bool string_token(std::string_view& value, std::string& scratch);
  bool unescape(std::string_view raw, std::string& to);
  bool literal(std::string_view word);
  bool skip_string();

  const char* begin_;
  const char* p_;
  const char* end_;
  bool first_ = false;  // just inside a bracket: no comma yet
  std::string key_scratch_;
  std::string value_scratch_;
  std::string_view place_;
  Status error_;
};

std::string_view to_string(JsonKind kind);  // "an object", ... as messages say it

// Does `token` match JSON's number grammar (no literals)? Returns its end, or null.
const char* json_number_end(const char* p, const char* end);

}  // namespace argosy::kserve
