#pragma once

// SharedTensors: the inputs of all samples, and room for their outputs, in one block of
// memory that the server is told of once (registration.h); requests then carry references
// instead of bytes. Here: POSIX shared memory; gpu_tensors.h: memory of a GPU.
//
// The server lets go of the block before this is dropped.
//
// Thread: immutable after it was made, but for what the server writes.

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "load/output_reader.h"
#include "load/registration.h"
#include "load/shared_layout.h"

namespace argosy::load {

class SharedTensors {
 public:
  virtual ~SharedTensors() = default;
  SharedTensors(const SharedTensors&) = delete;
  SharedTensors& operator=(const SharedTensors&) = delete;

  virtual SharedObject object() const = 0;
  // Does not outlive this.
  virtual std::unique_ptr<OutputReader> reader() const = 0;
  const std::vector<SharedRequest>& requests() const { return layout_.requests; }  // one for each sample

 protected:
  explicit SharedTensors(SharedLayout layout) : layout_(std::move(layout)) {}
  // Of the first output of sample `which`; no more than `bytes` of it.
  SharedPlace first_output(std::size_t which, std::size_t bytes) const;

  const SharedLayout layout_;
};

// A name for the region that no other load generator on this machine has.
std::string own_region();

// `output_bytes`: room for each output.
Result<std::unique_ptr<SharedTensors>> system_tensors(const std::vector<Sample>& samples, const ModelCard& card,
                                                      std::size_t output_bytes);

}  // namespace argosy::load
