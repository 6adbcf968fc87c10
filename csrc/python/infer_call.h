#pragma once

// In-process inference: numpy arrays to a request, and its responses back, without a
// socket. The caller waits with the interpreter lock released, iterates over a stream,
// or is called back on the Python thread.
//
// Thread: with the interpreter lock held.

#include <pybind11/pybind11.h>

#include <condition_variable>
#include <deque>
#include <memory>
#include <string>

#include "base/guarded.h"
#include "infer/request.h"
#include "python/runtime.h"

namespace argosy::python {

// Responses that have come and not been read. Also the iterator over them.
class ResponseStream {
 public:
  explicit ResponseStream(model::SpecPtr spec) : spec_(std::move(spec)) {}

  // Blocks with the lock released; raises the response's error, or StopIteration.
  pybind11::object next();
  void cancel() { cancellation->cancel(); }

  void add(infer::Response response, bool last);  // any thread, no lock needed

  const std::shared_ptr<infer::Cancellation> cancellation = std::make_shared<infer::Cancellation>();

 private:
  struct State {
    std::deque<infer::Response> waiting;
    bool ended = false;
  };
  model::SpecPtr spec_;
  Guarded<State> state_;
  std::condition_variable changed_;
};

// options: {"id", "outputs": [names], "priority", "timeout_us", "parameters": {..},
//           "sequence_id", "sequence_start", "sequence_end"}, each optional.
pybind11::list infer_blocking(Runtime& runtime, const std::string& name, std::int64_t version,
                              const pybind11::dict& inputs, const pybind11::dict& options);
std::shared_ptr<ResponseStream> infer_stream(Runtime& runtime, const std::string& name, std::int64_t version,
                                             const pybind11::dict& inputs, const pybind11::dict& options);
std::shared_ptr<ResponseStream> infer_async(Runtime& runtime, const std::string& name, std::int64_t version,
                                            const pybind11::dict& inputs, const pybind11::dict& options,
                                            pybind11::object done);

}  // namespace argosy::python
