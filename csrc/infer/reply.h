#pragma once

// Reply: the one way back to whoever asked.
//
// A request owns exactly one Reply and carries it down the whole pipeline, so no
// layer below the front end needs to know who is above it. It answers exactly once:
// finish() is the last word, and a Reply that dies unanswered says so itself. No
// request can be lost in silence.
//
// Thread: any, one at a time. A sink must not block, and outlives nothing: it is
// destroyed after its last send.

#include <memory>
#include <utility>

#include "infer/response.h"

namespace argosy::infer {

class ReplySink {
 public:
  virtual ~ReplySink() = default;
  virtual void send(Response response, bool last) = 0;
};

class Reply {
 public:
  Reply() = default;  // answers nobody
  explicit Reply(std::unique_ptr<ReplySink> sink) : sink_(std::move(sink)) {}
  Reply(Reply&&) noexcept = default;
  Reply& operator=(Reply&&) = delete;
  ~Reply() {
    if (sink_) std::move(*this).finish({internal_error("request was dropped unanswered"), {}, {}});
  }

  bool open() const { return sink_ != nullptr; }
  void stream(Response response) { sink_->send(std::move(response), /*last=*/false); }
  void finish(Response response) && {
    const auto sink = std::exchange(sink_, nullptr);
    if (sink) sink->send(std::move(response), /*last=*/true);
  }

  // Puts `wrap(old sink)` in the sink's place; for whoever must see answers pass.
  template <class Wrap>
  void wrap(Wrap wrap) {
    sink_ = wrap(std::move(sink_));
  }

 private:
  std::unique_ptr<ReplySink> sink_;
};

}  // namespace argosy::infer
