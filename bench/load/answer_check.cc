#include "load/answer_check.h"

#include <algorithm>

namespace argosy::load {

namespace {

constexpr std::size_t kComparedInParts = 16u << 10;  // bytes; less is collected as cheaply

Status wrong(std::string_view got, std::string_view expected) {
  const auto differ = std::mismatch(got.begin(), got.end(), expected.begin(), expected.end());
  return internal_error("wrong answer: first output has " + std::to_string(got.size()) + " bytes, expected " +
                        std::to_string(expected.size()) + ", first difference at byte " +
                        std::to_string(differ.first - got.begin()));
}

}  // namespace

LikelyBody AnswerCheck::likely(std::size_t which) const {
  const LikelyBody& body = passed_[which].body;
  return body != nullptr && body->size() >= kComparedInParts ? body : nullptr;
}

Status AnswerCheck::check_shared(std::size_t which, std::string_view body) {
  Passed& passed = passed_[which];
  if (!passed.was(body)) {
    if (auto status = lists_output(format_, body); !status.ok()) return status;
    passed = {0, std::make_shared<const std::string>(body)};
  }
  if (!expected_[which]) return {};
  const auto got = shared_->first(which, expected_[which]->size());
  if (!got.ok()) return got.status();
  return *got == *expected_[which] ? Status() : wrong(*got, *expected_[which]);
}

Status AnswerCheck::check(std::size_t which, std::string_view body, std::size_t header_length) {
  if (shared_) return check_shared(which, body);
  Passed& passed = passed_[which];
  if (passed.header_length == header_length && passed.was(body)) return {};
  auto output = first_output(format_, body, header_length);
  if (!output.ok()) return output.status();
  if (const auto& expected = expected_[which]; expected && *output != *expected) return wrong(*output, *expected);
  passed = {header_length, std::make_shared<const std::string>(body)};
  return {};
}

}  // namespace argosy::load
