#pragma once

// DeviceBatchView: what a Python instance sees of the batch whose work it enqueues:
// addresses of inputs in device memory, places for outputs there, and the stream.
//
// Thread: the instance's runner thread, with the interpreter lock held, only until
// enqueue() returns; used later it raises.

#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>
#include <vector>

#include "backend/device_model.h"

namespace argosy::python {

class DeviceBatchView {
 public:
  // `place`: where outputs lie that are on the device.
  DeviceBatchView(backend::Batch& batch, const model::ModelSpec& spec, device::Stream& stream,
                  backend::OutputMemory& memory, device::Place place)
      : batch_(&batch), spec_(spec), stream_(stream), memory_(memory), place_(place) {}
  void close() { batch_ = nullptr; }

  std::uint32_t rows() const { return batch().run_rows; }
  std::size_t requests() const { return batch().requests.size(); }
  const std::vector<bool>& wanted() const { return batch().wanted; }
  bool cancelled() const;
  std::uintptr_t stream() const;

  // (device address, shape), or None for an optional input nobody sent.
  pybind11::object input_memory(std::size_t index) const;
  // Of (name, dtype, shape) each: addresses. Lets the interpreter lock go while it waits.
  std::vector<std::uintptr_t> reserve_outputs(const pybind11::sequence& outputs);
  void set_device_output(const std::string& name, const std::string& dtype, const pybind11::handle& dims,
                         std::uintptr_t address, pybind11::object owner);
  void set_output(const std::string& name, const pybind11::handle& array);

 private:
  backend::Batch& batch() const;

  backend::Batch* batch_;
  const model::ModelSpec& spec_;
  device::Stream& stream_;
  backend::OutputMemory& memory_;
  const device::Place place_;
};

}  // namespace argosy::python
