#include "python/worker_end/codec.h"

#include <array>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <iterator>
#include <string_view>
#include <utility>

#include "python/worker_end/object.h"
#include "worker/heads.h"
#include "worker/message.h"

namespace argosy::python {
namespace {

using worker::kInline;
using worker::Reader;

constexpr std::size_t kTypes = 14;
constexpr std::size_t kLongestRank = 64;
constexpr std::array<std::size_t, kTypes> kItemBytes{1, 1, 2, 4, 8, 1, 2, 4, 8, 2, 2, 4, 8, 0};
constexpr std::size_t kBytesType = 13;

// What the functions below need of Python; for as long as the process lives.
struct Names {
  PyObject *InferRequest, *InferResponse, *Failure, *Received, *TensorValue, *DTYPES, *CODES, *NUMPY, *ndarray;
  PyObject *read_far, *read_strings, *put_tensor;  // the general ways
  PyObject *dtype, *shape, *tobytes;               // attributes
  PyObject* empty;                                 // ""
};
Names names;

void keep(PyObject*& place, PyObject* owned) { Py_XDECREF(std::exchange(place, owned)); }

// A named tuple of these; steals them. Null: one of them was null, or there is no memory.
template <class... Items>
Object tuple_of(PyObject* type, Items... items) {
  Object plain(PyTuple_New(sizeof...(items)));
  Py_ssize_t at = 0;
  bool whole = static_cast<bool>(plain);
  for (PyObject* item : {items...}) {
    whole = whole && item != nullptr;
    if (plain) {
      PyTuple_SET_ITEM(plain.get(), at++, item);
    } else {
      Py_XDECREF(item);
    }
  }
  if (!whole) return {};
  const Object arguments(PyTuple_Pack(1, plain.get()));
  return Object(arguments ? PyTuple_Type.tp_new(reinterpret_cast<PyTypeObject*>(type), arguments.get(), nullptr)
                          : nullptr);
}

PyObject* text_of(std::string_view bytes) {
  if (bytes.empty()) return Py_NewRef(names.empty);
  return PyUnicode_DecodeUTF8(bytes.data(), static_cast<Py_ssize_t>(bytes.size()), "surrogateescape");
}

PyObject* cut_off() {
  if (PyErr_Occurred() == nullptr) PyErr_SetString(PyExc_ValueError, "a message of the server is cut off");
  return nullptr;
}

class Message {
 public:
  explicit Message(PyObject* bytes)
      : object_(bytes),
        bytes_(PyBytes_AS_STRING(bytes), static_cast<std::size_t>(PyBytes_GET_SIZE(bytes))),
        from_(bytes_) {}

  Reader& from() { return from_; }
  Object texts(std::size_t count);
  Object parameters(std::size_t count);
  Object tensor(PyObject* memory);
  Object tensors(std::size_t count, PyObject* memory);

 private:
  Object data(std::uint8_t dtype, std::size_t size, PyObject* shape);

  PyObject* const object_;
  const std::string_view bytes_;
  Reader from_;
};

Object Message::texts(std::size_t count) {
  Object all(PyTuple_New(static_cast<Py_ssize_t>(count)));
  for (std::size_t i = 0; all && i < count; ++i) {
    PyObject* const text = text_of(from_.text());
    if (text == nullptr || from_.failed()) return Object(cut_off());
    PyTuple_SET_ITEM(all.get(), static_cast<Py_ssize_t>(i), text);
  }
  return all;
}

Object Message::parameters(std::size_t count) {
  Object found(PyDict_New());
  for (std::size_t i = 0; found && i < count; ++i) {
    const auto kind = from_.number<std::uint8_t>();
    const Object name(text_of(from_.text()));
    Object value;
    switch (kind) {
      case 0: value = Object(PyBool_FromLong(from_.number<std::uint8_t>())); break;
      case 1: value = Object(PyLong_FromLongLong(from_.number<std::int64_t>())); break;
      case 2: value = Object(PyFloat_FromDouble(from_.number<double>())); break;
      default: value = Object(text_of(from_.text()));
    }
    if (from_.failed() || !name || !value || PyDict_SetItem(found.get(), name.get(), value.get()) != 0) {
      return Object(cut_off());
    }
  }
  return found;
}

Object Message::data(std::uint8_t dtype, std::size_t size, PyObject* shape) {
  from_.align(16);
  const std::size_t at = from_.at();
  const auto raw = from_.raw(size);
  if (from_.failed()) return Object(cut_off());
  if (dtype == kBytesType) {
    return Object(PyObject_CallFunction(names.read_strings, "OnnO", object_, static_cast<Py_ssize_t>(at),
                                        static_cast<Py_ssize_t>(size), shape));
  }
  // A copy, and small: a message cannot be written, and models write to their inputs.
  const Object copy(PyByteArray_FromStringAndSize(raw.data(), static_cast<Py_ssize_t>(size)));
  if (!copy) return {};
  PyObject* const arguments[] = {shape, PyTuple_GET_ITEM(names.NUMPY, dtype), copy.get()};
  return Object(PyObject_Vectorcall(names.ndarray, arguments, std::size(arguments), nullptr));
}

Object Message::tensor(PyObject* memory) {
  const auto [name_size, dtype, where, rank, block, offset, size] = from_.number<worker::TensorHead>();
  Object name(text_of(from_.raw(name_size)));
  from_.align(8);
  if (!name || from_.failed() || dtype >= kTypes || rank > kLongestRank) return Object(cut_off());
  Object shape(PyTuple_New(static_cast<Py_ssize_t>(rank)));
  for (std::uint32_t i = 0; shape && i < rank; ++i) {
    PyObject* const dim = PyLong_FromLongLong(from_.number<std::int64_t>());
    if (dim == nullptr) return {};
    PyTuple_SET_ITEM(shape.get(), static_cast<Py_ssize_t>(i), dim);
  }
  if (!shape) return {};
  Object array = where == worker::kInMessage
                     ? data(dtype, size, shape.get())
                     : Object(PyObject_CallFunction(names.read_far, "OikkkO", memory, static_cast<int>(dtype), block,
                                                    offset, size, shape.get()));
  if (!array || from_.failed()) return Object(cut_off());
  return tuple_of(names.TensorValue, name.release(), Py_NewRef(PyTuple_GET_ITEM(names.DTYPES, dtype)), shape.release(),
                  array.release());
}

Object Message::tensors(std::size_t count, PyObject* memory) {
  Object all(PyTuple_New(static_cast<Py_ssize_t>(count)));
  for (std::size_t i = 0; all && i < count; ++i) {
    Object one = tensor(memory);
    if (!one) return {};
    PyTuple_SET_ITEM(all.get(), static_cast<Py_ssize_t>(i), one.release());
  }
  return all;
}

double monotonic_secs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);  // what time.monotonic() reads
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

Object read_request(Message& message, PyObject* memory, PyObject* outputs, double now) {
  Reader& from = message.from();
  from.align(8);
  const auto head = from.number<worker::RequestHead>();
  Object identity(text_of(from.text()));
  Object trace(text_of(from.text()));
  Object sequence(text_of(from.text()));
  if (from.failed()) return Object(cut_off());
  Object named = head.wanted != 0 ? message.texts(head.wanted) : Object::share(outputs);
  Object given = message.parameters(head.parameters);
  Object tensors = named && given ? message.tensors(head.inputs, memory) : Object();
  if (!tensors) return {};
  const std::uint64_t number = head.sequence_kind == worker::kNumbered ? head.sequence : 0;
  Object correlation =
      head.sequence_kind == worker::kNamed ? std::move(sequence) : Object(PyLong_FromUnsignedLongLong(number));
  Object request = tuple_of(names.InferRequest, PyLong_FromUnsignedLongLong(head.handle), tensors.release(),
                            named.release(), identity.release(), correlation.release(), PyLong_FromLong(head.flags),
                            PyLong_FromUnsignedLongLong(head.priority), PyLong_FromUnsignedLongLong(head.timeout_us),
                            given.release(), trace.release());
  if (!request) return {};
  return tuple_of(
      names.Received, request.release(),
      head.left_us < 0 ? Py_NewRef(Py_None) : PyFloat_FromDouble(now + static_cast<double>(head.left_us) * 1e-6));
}

bool expects(const char* function, bool right) {
  if (!right) PyErr_Format(PyExc_TypeError, "%s: unexpected arguments", function);
  return right;
}

// A tensor's numbers as the message has them; false: it is not a usual one, and nothing was done.
class UsualTensor {
 public:
  bool look(PyObject* tensor);
  bool append(PyObject* to) const;  // false: an error is set

 private:
  std::string_view name_;
  std::size_t dtype_ = kTypes, rank_ = 0, size_ = 0;
  std::array<std::int64_t, kLongestRank> dims_{};
  PyObject* data_ = nullptr;
};

bool UsualTensor::look(PyObject* tensor) {
  if (!PyTuple_Check(tensor) || PyTuple_GET_SIZE(tensor) != 4) return false;
  PyObject* const dtype = PyTuple_GET_ITEM(tensor, 1);
  PyObject* const shape = PyTuple_GET_ITEM(tensor, 2);
  data_ = PyTuple_GET_ITEM(tensor, 3);
  for (std::size_t i = 0; i < kBytesType && dtype_ == kTypes; ++i) {
    if (PyTuple_GET_ITEM(names.DTYPES, static_cast<Py_ssize_t>(i)) == dtype) dtype_ = i;
  }
  if (dtype_ == kTypes || reinterpret_cast<PyObject*>(Py_TYPE(data_)) != names.ndarray) return false;
  const Object own(PyObject_GetAttr(data_, names.dtype));
  if (own.get() != PyTuple_GET_ITEM(names.NUMPY, static_cast<Py_ssize_t>(dtype_))) return false;
  const Object whole(PyObject_GetAttr(data_, names.shape));
  if (!whole || (whole.get() != shape && PyObject_RichCompareBool(whole.get(), shape, Py_EQ) != 1)) return false;

  if (!PyTuple_CheckExact(shape) || PyTuple_GET_SIZE(shape) > static_cast<Py_ssize_t>(kLongestRank)) return false;
  rank_ = static_cast<std::size_t>(PyTuple_GET_SIZE(shape));
  size_ = kItemBytes[dtype_];
  for (std::size_t i = 0; i < rank_; ++i) {
    dims_[i] = PyLong_AsLongLong(PyTuple_GET_ITEM(shape, static_cast<Py_ssize_t>(i)));
    if (dims_[i] < 0 || static_cast<std::size_t>(dims_[i]) > kInline) return false;
    size_ *= static_cast<std::size_t>(dims_[i]);
    if (size_ > kInline) return false;
  }
  Py_ssize_t length = 0;
  const char* const text = PyUnicode_AsUTF8AndSize(PyTuple_GET_ITEM(tensor, 0), &length);
  if (text == nullptr || length > 0xffff) return false;
  name_ = {text, static_cast<std::size_t>(length)};
  return true;
}

constexpr std::size_t aligned(std::size_t at, std::size_t to) { return (at + to - 1) / to * to; }

bool UsualTensor::append(PyObject* to) const {
  const Object raw(PyObject_CallMethodNoArgs(data_, names.tobytes));
  if (!raw) return false;
  const auto begin = static_cast<std::size_t>(PyByteArray_GET_SIZE(to));
  const std::size_t dims = aligned(begin + sizeof(worker::TensorHead) + name_.size(), 8);
  const std::size_t bytes = aligned(dims + 8 * rank_, 16);
  if (!PyBytes_CheckExact(raw.get()) || static_cast<std::size_t>(PyBytes_GET_SIZE(raw.get())) != size_) {
    PyErr_SetString(PyExc_ValueError, "a tensor's shape is not that of its data");
    return false;
  }
  if (PyByteArray_Resize(to, static_cast<Py_ssize_t>(bytes + size_)) != 0) return false;
  char* const message = PyByteArray_AS_STRING(to);
  std::memset(message + begin, 0, bytes - begin);
  const worker::TensorHead head{.name_size = static_cast<std::uint16_t>(name_.size()),
                                .dtype = static_cast<std::uint8_t>(dtype_),
                                .rank = static_cast<std::uint32_t>(rank_),
                                .size = size_};
  std::memcpy(message + begin, &head, sizeof head);
  std::memcpy(message + begin + sizeof head, name_.data(), name_.size());
  std::memcpy(message + dims, dims_.data(), 8 * rank_);
  std::memcpy(message + bytes, PyBytes_AS_STRING(raw.get()), size_);
  return true;
}

}  // namespace

PyObject* codec_set_up(PyObject*, PyObject* given) {
  const std::pair<const char*, PyObject**> wanted[] = {{"InferRequest", &names.InferRequest},
                                                       {"InferResponse", &names.InferResponse},
                                                       {"Failure", &names.Failure},
                                                       {"Received", &names.Received},
                                                       {"TensorValue", &names.TensorValue},
                                                       {"DTYPES", &names.DTYPES},
                                                       {"CODES", &names.CODES},
                                                       {"NUMPY", &names.NUMPY},
                                                       {"ndarray", &names.ndarray},
                                                       {"read_far", &names.read_far},
                                                       {"read_strings", &names.read_strings},
                                                       {"put_tensor", &names.put_tensor}};
  if (!PyDict_Check(given)) return PyErr_Format(PyExc_TypeError, "set_up: expected a dict");
  for (const auto& [name, place] : wanted) {
    PyObject* const found = PyDict_GetItemString(given, name);
    if (found == nullptr) return PyErr_Format(PyExc_KeyError, "set_up: '%s' is missing", name);
    keep(*place, Py_NewRef(found));
  }
  for (PyObject* const table : {names.DTYPES, names.NUMPY, names.CODES}) {
    if (!PyTuple_Check(table)) return PyErr_Format(PyExc_TypeError, "set_up: expected tuples");
  }
  if (PyTuple_GET_SIZE(names.DTYPES) != kTypes || PyTuple_GET_SIZE(names.NUMPY) != kTypes) {
    return PyErr_Format(PyExc_ValueError, "set_up: expected %zu data types", kTypes);
  }
  keep(names.dtype, PyUnicode_InternFromString("dtype"));
  keep(names.shape, PyUnicode_InternFromString("shape"));
  keep(names.tobytes, PyUnicode_InternFromString("tobytes"));
  keep(names.empty, PyUnicode_InternFromString(""));
  Py_RETURN_NONE;
}

PyObject* codec_read_requests(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  if (!expects("read_requests",
               count == 3 && names.ndarray && PyBytes_Check(arguments[0]) && PyTuple_Check(arguments[2]))) {
    return nullptr;
  }
  Message message(arguments[0]);
  Reader& from = message.from();
  from.raw(4);
  const auto requests = from.number<std::uint32_t>();
  const double now = monotonic_secs();
  Object all(PyList_New(0));
  for (std::uint32_t i = 0; all && i < requests; ++i) {
    const Object one = read_request(message, arguments[1], arguments[2], now);
    if (!one || PyList_Append(all.get(), one.get()) != 0) return nullptr;
  }
  if (from.failed()) return cut_off();
  return all.release();
}

PyObject* codec_read_response(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  if (!expects("read_response",
               count == 3 && names.ndarray && PyBytes_Check(arguments[0]) && PyLong_Check(arguments[1]))) {
    return nullptr;
  }
  Message message(arguments[0]);
  Reader& from = message.from();
  from.raw(PyLong_AsSize_t(arguments[1]));
  if (PyErr_Occurred() != nullptr) return nullptr;
  const auto [code, zero, outputs, parameters, zero_too] = from.number<worker::ResponseHead>();
  Object text(text_of(from.text()));
  if (from.failed() || !text || code >= PyTuple_GET_SIZE(names.CODES)) return cut_off();
  Object given = message.parameters(parameters);
  Object tensors = given ? message.tensors(outputs, arguments[2]) : Object();
  if (!tensors) return nullptr;
  Object failure = Object::share(Py_None);
  if (code != 0) failure = tuple_of(names.Failure, Py_NewRef(PyTuple_GET_ITEM(names.CODES, code)), text.release());
  return tuple_of(names.InferResponse, tensors.release(), given.release(), failure.release()).release();
}

PyObject* codec_put_tensors(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  if (!expects("put_tensors",
               count == 4 && names.ndarray && PyByteArray_Check(arguments[0]) && PyTuple_Check(arguments[1]))) {
    return nullptr;
  }
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(arguments[1]); ++i) {
    PyObject* const tensor = PyTuple_GET_ITEM(arguments[1], i);
    UsualTensor usual;
    if (usual.look(tensor)) {
      if (!usual.append(arguments[0])) return nullptr;
      continue;
    }
    PyErr_Clear();
    PyObject* const general[] = {arguments[0], tensor, arguments[2], arguments[3]};
    const Object done(PyObject_Vectorcall(names.put_tensor, general, std::size(general), nullptr));
    if (!done) return nullptr;
  }
  Py_RETURN_NONE;
}

}  // namespace argosy::python
