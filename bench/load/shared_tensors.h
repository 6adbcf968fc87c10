#pragma once

// SharedTensors: the inputs of all samples, and room for their outputs, in one object of
// POSIX shared memory that the server is told of once; requests then carry references
// instead of bytes.
//
// Requests of one sample share their outputs' place, as they share their inputs: a
// deterministic model writes the same bytes there however many are in flight.
//
// Thread: immutable after make(), but for what the server writes.

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "load/exchange.h"
#include "load/model_card.h"
#include "load/samples.h"

namespace argosy::load {

class SharedTensors {
 public:
  // `output_bytes`: room for each output.
  static Result<std::unique_ptr<SharedTensors>> make(const std::vector<Sample>& samples, const ModelCard& card,
                                                     std::size_t output_bytes);
  ~SharedTensors();
  SharedTensors(const SharedTensors&) = delete;
  SharedTensors& operator=(const SharedTensors&) = delete;

  const SharedObject& object() const { return object_; }
  const std::vector<SharedRequest>& requests() const { return requests_; }  // one for each sample
  std::vector<std::string_view> first_outputs() const;                      // their memory, likewise

 private:
  SharedTensors() = default;

  SharedObject object_;
  std::vector<SharedRequest> requests_;
  char* data_ = nullptr;
};

}  // namespace argosy::load
