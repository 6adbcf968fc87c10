#include "load/answer_check.h"

#include <algorithm>

namespace argosy::load {

Status AnswerCheck::check(std::size_t which, std::string_view body, std::size_t header_length) {
  Passed& passed = passed_[which];
  if (passed.any && passed.header_length == header_length && passed.body == body) return {};
  auto output = first_output(format_, body, header_length);
  if (!output.ok()) return output.status();
  if (const auto& expected = expected_[which]; expected && *output != *expected) {
    const auto differ = std::mismatch(output->begin(), output->end(), expected->begin(), expected->end());
    return internal_error("wrong answer: first output has " + std::to_string(output->size()) + " bytes, expected " +
                          std::to_string(expected->size()) + ", first difference at byte " +
                          std::to_string(differ.first - output->begin()));
  }
  passed = {true, header_length, std::string(body)};
  return {};
}

}  // namespace argosy::load
