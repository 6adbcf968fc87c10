#include "python/batch_view.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <optional>

#include "base/bytes_pool.h"
#include "python/status_caster.h"
#include "python/tensor_convert.h"

namespace argosy::python {
namespace py = pybind11;

backend::Batch& BatchView::batch() const {
  if (batch_ == nullptr) raise(internal_error("a batch was used after execute() returned"));
  return *batch_;
}

bool BatchView::cancelled() const {
  return std::ranges::any_of(batch().requests, [](const auto& request) { return request && request->cancelled(); });
}

std::size_t BatchView::index_of(const std::string& name) const {
  for (std::size_t i = 0; i < spec_.inputs.size(); ++i) {
    if (spec_.inputs[i].name == name) return i;
  }
  for (std::size_t i = 0; i < spec_.batch_inputs.size(); ++i) {
    if (spec_.batch_inputs[i].name == name) return spec_.inputs.size() + i;
  }
  raise(invalid_argument("model '" + spec_.name + "' has no input '" + name + "'"));
}

py::object BatchView::input(std::size_t index) const {
  const auto& inputs = batch().inputs;
  if (index >= inputs.size()) throw py::index_error("the model has " + std::to_string(inputs.size()) + " inputs");
  if (inputs[index].name.empty()) return py::none();
  return to_numpy(inputs[index]);
}

py::object BatchView::input(const std::string& name) const { return input(index_of(name)); }

py::object BatchView::input_memory(std::size_t index) {
  if (index >= batch().inputs.size()) throw py::index_error("no such input");
  const tensor::Tensor& tensor = batch().inputs[index];
  if (tensor.name.empty()) return py::none();
  const auto align = std::max<std::size_t>(tensor::element_size(tensor.dtype), 1);
  auto address = reinterpret_cast<std::uintptr_t>(tensor.data.data());
  if (address % align != 0) {
    // Once per batch and only for a lone request: joined batches are aligned already.
    held_.push_back(to_numpy(tensor));
    address = reinterpret_cast<std::uintptr_t>(py::reinterpret_borrow<py::array>(held_.back()).data());
  }
  return py::make_tuple(address, to_tuple(tensor.shape));
}

std::uintptr_t BatchView::allocate_output(const std::string& name, const std::string& dtype, const py::handle& dims) {
  auto [out, size] = sized_tensor(name, dtype, dims);
  Buffer buffer = default_pool().allocate(size);
  if (!buffer) raise(resource_exhausted("output '" + name + "': no memory for " + std::to_string(size) + " bytes"));
  const auto address = reinterpret_cast<std::uintptr_t>(buffer.data());
  out.data = device::Memory(std::move(buffer).freeze(size));
  batch().outputs.push_back(std::move(out));
  return address;
}

void BatchView::set_output(const std::string& name, const py::handle& array) {
  bool as_bf16 = false;
  for (const auto& output : spec_.outputs) {
    if (output.name == name) as_bf16 = output.dtype == tensor::DType::bf16;
  }
  batch().outputs.push_back(take(from_numpy(name, array, as_bf16)));
}

void bind_batch(py::module_& m) {
  py::class_<BatchView, std::shared_ptr<BatchView>>(
      m, "Batch", "The requests that run together, as one tensor per input. Valid during execute() only.")
      .def_property_readonly("rows", &BatchView::rows, "Batch rows of all requests together.")
      .def_property_readonly("requests", &BatchView::requests, "How many requests are in the batch.")
      .def_property_readonly("wanted", &BatchView::wanted, "Per model output: does any request ask for it?")
      .def_property_readonly("cancelled", &BatchView::cancelled, "Whether the caller of any request has left.")
      .def("input", py::overload_cast<const std::string&>(&BatchView::input, py::const_), py::arg("name"),
           "A read-only array over the received bytes, or None for an optional input nobody sent.")
      .def("input", py::overload_cast<std::size_t>(&BatchView::input, py::const_), py::arg("index"))
      .def("input_memory", &BatchView::input_memory, py::arg("index"))
      .def("allocate_output", &BatchView::allocate_output, py::arg("name"), py::arg("dtype"), py::arg("shape"),
           "Address of native memory that becomes this output; fill it before execute() returns.")
      .def("set_output", &BatchView::set_output, py::arg("name"), py::arg("array"),
           "Gives one output, batch dimension first.");
}

}  // namespace argosy::python
