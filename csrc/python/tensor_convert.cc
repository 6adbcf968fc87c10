#include "python/tensor_convert.h"

#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "base/bytes_pool.h"
#include "python/gil.h"
#include "python/status_caster.h"
#include "tensor/rows.h"
#include "tensor/strings.h"

namespace argosy::python {
namespace py = pybind11;
using tensor::DType;

namespace {

std::optional<DType> dtype_of(const py::dtype& dtype, bool as_bf16) {
  const auto size = dtype.itemsize();
  switch (dtype.kind()) {
    case 'b': return DType::boolean;
    case 'u':
      if (as_bf16 && size == 2) return DType::bf16;
      return size == 1 ? DType::uint8 : size == 2 ? DType::uint16 : size == 4 ? DType::uint32 : DType::uint64;
    case 'i': return size == 1 ? DType::int8 : size == 2 ? DType::int16 : size == 4 ? DType::int32 : DType::int64;
    case 'f':
      if (size == 2) return DType::fp16;
      if (size == 4) return DType::fp32;
      if (size == 8) return DType::fp64;
      return std::nullopt;
    case 'O':
    case 'S':
    case 'U': return DType::bytes;
    default:
      if (py::str(dtype.attr("name")).cast<std::string>() == "bfloat16") return DType::bf16;
      return std::nullopt;
  }
}

// `bytes`, `str` (UTF-8), or anything with a str() of its own.
std::string element_text(const py::handle& item) {
  if (py::isinstance<py::bytes>(item)) return py::reinterpret_borrow<py::bytes>(item);
  if (py::isinstance<py::str>(item)) return py::reinterpret_borrow<py::str>(item);
  return py::str(item);
}

py::array strings_to_numpy(const tensor::Tensor& tensor, const std::vector<py::ssize_t>& dims) {
  py::array out(py::dtype("O"), dims);
  auto** slots = static_cast<PyObject**>(out.mutable_data());
  auto rest = tensor.data.bytes().span();
  for (py::ssize_t i = 0; i < out.size(); ++i) {
    const tensor::Element element = tensor::first_element(rest);
    rest = rest.subspan(element.used);
    PyObject* previous = std::exchange(slots[i], py::bytes(element.value.data(), element.value.size()).release().ptr());
    Py_XDECREF(previous);
  }
  return out;
}

Result<tensor::Tensor> strings_from_numpy(std::string name, const py::array& array) {
  std::string text;
  const py::list items = array.attr("ravel")().attr("tolist")();
  for (const auto item : items) tensor::append_element(text, element_text(item));
  tensor::Tensor out{std::move(name), DType::bytes, {}, Bytes::take(std::move(text))};
  for (py::ssize_t i = 0; i < array.ndim(); ++i) out.shape.push_back(array.shape(i));
  return out;
}

}  // namespace

py::dtype numpy_dtype(DType dtype) {
  switch (dtype) {
    case DType::boolean: return py::dtype("?");
    case DType::uint8: return py::dtype("u1");
    case DType::uint16:
    case DType::bf16: return py::dtype("u2");
    case DType::uint32: return py::dtype("u4");
    case DType::uint64: return py::dtype("u8");
    case DType::int8: return py::dtype("i1");
    case DType::int16: return py::dtype("i2");
    case DType::int32: return py::dtype("i4");
    case DType::int64: return py::dtype("i8");
    case DType::fp16: return py::dtype("f2");
    case DType::fp32: return py::dtype("f4");
    case DType::fp64: return py::dtype("f8");
    case DType::bytes: break;
  }
  return py::dtype("O");
}

py::array to_numpy(const tensor::Tensor& tensor) {
  std::vector<py::ssize_t> dims(tensor.shape.begin(), tensor.shape.end());
  if (tensor.dtype == DType::bytes) return strings_to_numpy(tensor, dims);
  const auto dtype = numpy_dtype(tensor.dtype);
  const auto align = tensor::element_size(tensor.dtype);
  if (tensor.data.size() == 0) return py::array(dtype, dims);
  // What came from a device stands in its pinned pool, which results kept for long would empty.
  const bool borrowed = tensor.data.place().kind == device::MemoryKind::pinned;
  if (borrowed || reinterpret_cast<std::uintptr_t>(tensor.data.data()) % align != 0) {
    py::array copy(dtype, dims);
    std::memcpy(copy.mutable_data(), tensor.data.data(), tensor.data.size());
    return copy;
  }
  auto* owner = new std::shared_ptr<const void>(tensor.data.owner());
  const py::capsule keep(owner, [](void* p) { delete static_cast<std::shared_ptr<const void>*>(p); });
  py::array view(dtype, dims, tensor.data.data(), keep);
  view.attr("flags").attr("writeable") = false;
  return view;
}

Result<tensor::Tensor> from_numpy(std::string name, const py::handle& value, bool as_bf16) {
  py::array array = py::array::ensure(value, py::array::c_style);
  if (!array) {
    PyErr_Clear();
    return invalid_argument("tensor '" + name + "': expected a numpy array, got " +
                            py::str(py::type::of(value)).cast<std::string>());
  }
  const auto dtype = dtype_of(array.dtype(), as_bf16);
  if (!dtype) {
    return invalid_argument("tensor '" + name + "': numpy dtype '" + py::str(array.dtype()).cast<std::string>() +
                            "' has no counterpart; expected bool, (u)int8-64, float16-64, bfloat16, bytes or str");
  }
  if (*dtype == DType::bytes) return strings_from_numpy(std::move(name), array);
  if (!py::dtype::from_args(array.dtype()).attr("isnative").cast<bool>()) {
    array = array.attr("astype")(array.dtype().attr("newbyteorder")("="));
  }
  tensor::Tensor out{std::move(name), *dtype, {}, {}};
  for (py::ssize_t i = 0; i < array.ndim(); ++i) out.shape.push_back(array.shape(i));
  const auto* data = static_cast<const std::byte*>(array.data());
  const auto size = static_cast<std::size_t>(array.nbytes());
  out.data = device::Memory(Bytes(native_owner(std::move(array)), data, size));
  return out;
}

Sized sized_tensor(std::string name, const std::string& dtype, const py::handle& dims) {
  const auto type = tensor::parse_dtype(dtype);
  if (!type || *type == DType::bytes) {
    raise(invalid_argument("output '" + name + "': no fixed size for '" + dtype + "'"));
  }
  tensor::Shape shape = to_shape(dims);
  const auto bytes = tensor::byte_size(*type, shape);
  if (!bytes) raise(invalid_argument("output '" + name + "': shape " + to_string(shape) + " has no size"));
  return {{std::move(name), *type, std::move(shape), {}}, *bytes};
}

tensor::Shape to_shape(const py::handle& dims) {
  tensor::Shape shape;
  for (const auto dim : dims) shape.push_back(dim.cast<std::int64_t>());
  return shape;
}

py::tuple to_tuple(const tensor::Shape& shape) {
  py::tuple out(shape.rank());
  for (std::size_t i = 0; i < shape.rank(); ++i) out[i] = shape[i];
  return out;
}

}  // namespace argosy::python
