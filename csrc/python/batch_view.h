#pragma once

// BatchView: what a Python backend's instance sees of the batch it executes: joined
// input tensors in, output tensors out, and room for outputs in native memory so that
// a runtime can write its results where the responses are sliced from.
//
// Thread: the instance's runner thread, with the interpreter lock held, only until
// execute() returns; used later it raises.

#include <pybind11/pybind11.h>

#include <string>
#include <utility>
#include <vector>

#include "backend/backend.h"

namespace argosy::python {

class BatchView {
 public:
  BatchView(backend::Batch& batch, const model::ModelSpec& spec) : batch_(&batch), spec_(spec) {}
  void close() { batch_ = nullptr; }

  std::uint32_t rows() const { return batch().rows; }
  std::size_t requests() const { return batch().requests.size(); }
  const std::vector<bool>& wanted() const { return batch().wanted; }
  bool cancelled() const;

  // A numpy array (read-only, no copy), or None for an optional input nobody sent.
  pybind11::object input(std::size_t index) const;
  pybind11::object input(const std::string& name) const;
  // (address, shape) of a numeric input, for runtimes that bind memory themselves.
  // Aligned to the element size; None where input() would be None.
  pybind11::object input_memory(std::size_t index);

  // Native memory for an output of this shape: its address. Filled before execute() returns.
  std::uintptr_t allocate_output(const std::string& name, const std::string& dtype, const pybind11::handle& dims);
  // An output as an array (no copy for numeric types).
  void set_output(const std::string& name, const pybind11::handle& array);

 private:
  backend::Batch& batch() const;
  std::size_t index_of(const std::string& name) const;

  backend::Batch* batch_;
  const model::ModelSpec& spec_;  // lives with the loaded model, longer than any batch
  std::vector<pybind11::object> held_;
};

void bind_batch(pybind11::module_& m);

}  // namespace argosy::python
