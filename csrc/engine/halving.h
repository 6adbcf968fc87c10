#pragma once

// Halving: which requests of a batch run together next, after the batch has failed: its
// halves, and the halves of what fails again, so that in the end only the requests fail
// that fail alone.
//
// Decides; run_in_parts() carries it out, for whoever can run a batch. A batch of n
// requests is run in at most 2n - 2 parts.
//
// Thread: pure; any.

#include <cstddef>
#include <iterator>
#include <optional>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "base/status.h"

namespace argosy::engine {

class Halving {
 public:
  struct Part {
    std::size_t begin = 0;
    std::size_t end = 0;
    std::size_t size() const { return end - begin; }
    friend bool operator==(const Part&, const Part&) = default;
  };

  // Whether parts of what failed so may succeed: it may be one request's fault, as a lack
  // of memory or a server that is going away is not.
  static bool helps(const Status& why, std::size_t requests);

  // Of a batch of so many requests, at least 2, that failed.
  explicit Halving(std::size_t requests) { split({0, requests}); }

  std::optional<Part> next();                 // in the order of the requests; each is in one part at a time
  bool failed(Part part, const Status& why);  // false: for good; else its halves come next

 private:
  void split(Part part);

  std::vector<Part> pending_;  // the next one last
};

// `run(part)` runs a batch with requests, and leaves one answer each when it is ok.
// Afterwards batch.answers has one entry per request.
template <class Run>
void run_in_parts(backend::Batch& batch, Run run) {
  auto& all = batch.requests;
  batch.answers.clear();
  batch.answers.resize(all.size());
  Halving halving(all.size());
  while (const auto part = halving.next()) {
    const auto from = all.begin() + static_cast<std::ptrdiff_t>(part->begin);
    const auto to = all.begin() + static_cast<std::ptrdiff_t>(part->end);
    const auto answer = batch.answers.begin() + static_cast<std::ptrdiff_t>(part->begin);
    backend::Batch one;
    one.requests.assign(std::move_iterator(from), std::move_iterator(to));
    const Status status = run(one);
    std::move(one.requests.begin(), one.requests.end(), from);
    if (status.ok()) {
      std::move(one.answers.begin(), one.answers.end(), answer);
    } else if (!halving.failed(*part, status)) {
      for (std::size_t i = 0; i < part->size(); ++i) answer[static_cast<std::ptrdiff_t>(i)] = {status, {}, {}};
    }
  }
}

}  // namespace argosy::engine
