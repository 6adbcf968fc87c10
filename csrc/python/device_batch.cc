#include "python/device_batch.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "python/bind.h"
#include "python/gil.h"
#include "python/status_caster.h"
#include "python/tensor_convert.h"

namespace argosy::python {
namespace py = pybind11;

backend::Batch& DeviceBatchView::batch() const {
  if (batch_ == nullptr) raise(internal_error("a batch was used after enqueue() returned"));
  return *batch_;
}

bool DeviceBatchView::cancelled() const {
  return std::ranges::any_of(batch().requests, [](const auto& request) { return request->cancelled(); });
}

std::uintptr_t DeviceBatchView::stream() const {
  (void)batch();
  return reinterpret_cast<std::uintptr_t>(stream_.native());
}

py::object DeviceBatchView::input_memory(std::size_t index) const {
  const auto& inputs = batch().inputs;
  if (index >= inputs.size()) throw py::index_error("the model has " + std::to_string(inputs.size()) + " inputs");
  const tensor::Tensor& input = inputs[index];
  if (input.name.empty()) return py::none();
  return py::make_tuple(reinterpret_cast<std::uintptr_t>(input.data.data()), to_tuple(input.shape));
}

std::vector<std::uintptr_t> DeviceBatchView::reserve_outputs(const py::sequence& outputs) {
  std::vector<Sized> sized;
  std::vector<std::size_t> bytes;
  for (const auto item : outputs) {
    const auto one = item.cast<py::tuple>();
    if (one.size() != 3) raise(invalid_argument("reserve_outputs(): expected (name, dtype, shape) of each output"));
    sized.push_back(sized_tensor(one[0].cast<std::string>(), one[1].cast<std::string>(), one[2]));
    bytes.push_back(sized.back().bytes);
  }
  auto& into = batch().outputs;
  if (sized.empty()) return {};
  const auto places = [&] {
    const py::gil_scoped_release release;
    return memory_.reserve(bytes);
  }();
  if (!places.ok()) raise(places.status());
  std::vector<std::uintptr_t> addresses;
  for (std::size_t i = 0; i < sized.size(); ++i) {
    sized[i].tensor.data = device::Memory(nullptr, (*places)[i], bytes[i], place_);
    into.push_back(std::move(sized[i].tensor));
    addresses.push_back(reinterpret_cast<std::uintptr_t>((*places)[i]));
  }
  return addresses;
}

void DeviceBatchView::set_device_output(const std::string& name, const std::string& dtype, const py::handle& dims,
                                        std::uintptr_t address, py::object owner) {
  Sized output = sized_tensor(name, dtype, dims);
  if (address == 0 && output.bytes > 0) {
    raise(invalid_argument("output '" + name + "': " + std::to_string(output.bytes) + " bytes at address 0"));
  }
  output.tensor.data =
      device::Memory(native_owner(std::move(owner)), reinterpret_cast<const std::byte*>(address), output.bytes, place_);
  batch().outputs.push_back(std::move(output.tensor));
}

void DeviceBatchView::set_output(const std::string& name, const py::handle& array) {
  const bool as_bf16 = std::ranges::any_of(spec_.outputs, [&](const model::TensorSpec& output) {
    return output.name == name && output.dtype == tensor::DType::bf16;
  });
  batch().outputs.push_back(take(from_numpy(name, array, as_bf16)));
}

void bind_device_batch(py::module_& m) {
  py::class_<DeviceBatchView, std::shared_ptr<DeviceBatchView>>(
      m, "DeviceBatch", "The requests that run together, in device memory. Valid during enqueue() only.")
      .def_property_readonly("rows", &DeviceBatchView::rows, "Rows that the batch runs with, padding included.")
      .def_property_readonly("requests", &DeviceBatchView::requests, "How many requests are in the batch.")
      .def_property_readonly("wanted", &DeviceBatchView::wanted, "Per model output: does any request ask for it?")
      .def_property_readonly("stream", &DeviceBatchView::stream,
                             "Native handle of the stream to enqueue on; 0 where the device has none.")
      .def_property_readonly("cancelled", &DeviceBatchView::cancelled, "Whether the caller of any request has left.")
      .def("input_memory", &DeviceBatchView::input_memory, py::arg("index"),
           "Device address and shape, or None for an optional input nobody sent.")
      .def("reserve_outputs", &DeviceBatchView::reserve_outputs, py::arg("outputs"),
           "Device addresses for outputs, (name, dtype, shape) each; once a batch.")
      .def("set_device_output", &DeviceBatchView::set_device_output, py::arg("name"), py::arg("dtype"),
           py::arg("shape"), py::arg("address"), py::arg("owner"),
           "Gives one output in device memory that `owner` keeps alive until it has been copied out.")
      .def("set_output", &DeviceBatchView::set_output, py::arg("name"), py::arg("array"),
           "Gives one output in host memory, ready now.");
}

}  // namespace argosy::python
