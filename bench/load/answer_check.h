#pragma once

// AnswerCheck: is an answer what it should be?
//
// Every answer must hold an output; with an expectation, the first output must equal
// it byte for byte. A body equal to the last one that passed is accepted for that, so
// that checking costs next to nothing when a server answers alike: one comparison,
// which Answer makes as the bytes arrive where it was given likely().
//
// Thread: one at a time; one object for each sending thread.

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "load/answer.h"
#include "load/exchange.h"
#include "load/output_reader.h"

namespace argosy::load {

class AnswerCheck {
 public:
  // `shared`: where answers leave their outputs when they do not carry them; else null.
  AnswerCheck(Format format, std::vector<std::optional<std::string>> expected,
              std::unique_ptr<OutputReader> shared = nullptr)
      : format_(format), expected_(std::move(expected)), shared_(std::move(shared)), passed_(expected_.size()) {}

  // The last body that passed for sample `which`; null while there is none, and where
  // bodies are too small to be compared in parts.
  LikelyBody likely(std::size_t which) const;

  // Ok, or why the answer to sample `which` is wrong.
  Status check(std::size_t which, std::string_view body, std::size_t header_length);

 private:
  struct Passed {
    std::size_t header_length = 0;
    LikelyBody body;  // null: none has passed

    bool was(std::string_view given) const {
      return body != nullptr && body->size() == given.size() && (body->data() == given.data() || *body == given);
    }
  };

  const Format format_;
  Status check_shared(std::size_t which, std::string_view body);

  const std::vector<std::optional<std::string>> expected_;
  const std::unique_ptr<OutputReader> shared_;
  std::vector<Passed> passed_;
};

}  // namespace argosy::load
