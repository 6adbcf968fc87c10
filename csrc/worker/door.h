#pragma once

// Door: what a model in a worker may ask of the server besides answering: inferences of
// other models and control of the repository. The composition root provides it; the
// worker room knows no engine.
//
// Thread: any; must not block.

#include <cstdint>
#include <functional>
#include <string>

#include "base/status.h"
#include "infer/request.h"

namespace argosy::worker {

class Door {
 public:
  virtual ~Door() = default;

  // Queues the request like any other, or runs it at once if that is short (version -1:
  // the newest). It is answered through its own reply, also when it is refused.
  virtual void infer(const std::string& model, std::int64_t version, infer::RequestPtr request) = 0;

  // `told` is called once, on any thread.
  virtual void ready(const std::string& model, std::int64_t version, std::function<void(bool)> told) = 0;

  // "load" or "unload" with the arguments as JSON; `done` is called once, on any thread.
  using Done = std::function<void(Status)>;
  virtual void control(const std::string& verb, const std::string& arguments, Done done) = 0;
};

}  // namespace argosy::worker
