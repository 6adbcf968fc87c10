#pragma once

// Answer: the body of an answer while it arrives. What is equal to the likely body is
// compared where it was received and not kept; from the first difference on, all is.
// So a large answer that is as it was last time costs one comparison.
//
// Thread: its connection's.

#include <cstring>
#include <memory>
#include <string>
#include <string_view>

namespace argosy::load {

// A body that an answer is likely to have; null: nobody knows.
using LikelyBody = std::shared_ptr<const std::string>;

class Answer {
 public:
  void begin(const LikelyBody& likely) {
    likely_ = likely;
    equal_ = 0;
    kept_.clear();
  }

  void append(std::string_view part) {
    if (likely_ != nullptr) {
      if (part.size() <= likely_->size() - equal_ &&
          std::memcmp(likely_->data() + equal_, part.data(), part.size()) == 0) {
        equal_ += part.size();
        return;
      }
      kept_.assign(*likely_, 0, equal_);
      likely_ = nullptr;
    }
    kept_ += part;
  }

  // The likely body's own bytes, as far as the answer has come, where nothing differs.
  std::string_view body() const {
    return likely_ != nullptr ? std::string_view(*likely_).substr(0, equal_) : std::string_view(kept_);
  }

 private:
  LikelyBody likely_;      // null: it differed, or there was none
  std::size_t equal_ = 0;  // bytes
  std::string kept_;
};

}  // namespace argosy::load
