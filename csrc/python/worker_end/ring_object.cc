#include "python/worker_end/ring_object.h"

#include <bit>
#include <new>
#include <optional>

#include "worker/ring.h"

namespace argosy::python {
namespace {

using worker::RingPlace;
using worker::RingReader;
using worker::RingWriter;

struct Ends {
  explicit Ends(RingPlace place) : reader(place), writer(place) {}
  RingReader reader;  // of both, a process uses one
  RingWriter writer;
};

struct RingObject {
  PyObject_HEAD Py_buffer memory;  // keeps the mapping
  std::optional<Ends> ends;
  Py_ssize_t longest;
};

RingObject* self_of(PyObject* self) { return reinterpret_cast<RingObject*>(self); }

PyObject* make(PyTypeObject* type, PyObject* arguments, PyObject*) {
  PyObject* memory = nullptr;
  unsigned long long address = 0;
  Py_ssize_t at = 0;
  unsigned int capacity = 0;
  if (!PyArg_ParseTuple(arguments, "OKnI:Ring", &memory, &address, &at, &capacity)) return nullptr;
  auto* made = self_of(type->tp_alloc(type, 0));
  if (made == nullptr) return nullptr;
  new (&made->ends) std::optional<Ends>();
  if (PyObject_GetBuffer(memory, &made->memory, PyBUF_WRITABLE) != 0) {
    Py_DECREF(made);
    return nullptr;
  }
  const Py_ssize_t needed = static_cast<Py_ssize_t>(worker::kRingHead + capacity);
  if (!std::has_single_bit(capacity) || capacity < 64 || at < 0 || at % 8 != 0 || made->memory.len < needed ||
      at > made->memory.len - needed) {
    PyErr_Format(PyExc_ValueError, "a ring of %u bytes at %zd is not in memory of %zd bytes", capacity, at,
                 made->memory.len);
    Py_DECREF(made);
    return nullptr;
  }
  const RingPlace place(static_cast<std::byte*>(made->memory.buf) + at, capacity);
  made->ends.emplace(place);
  made->longest = static_cast<Py_ssize_t>(place.longest());
  return reinterpret_cast<PyObject*>(made);
}

void destroy(PyObject* self) {
  PyTypeObject* const type = Py_TYPE(self);
  self_of(self)->ends.~optional();
  if (self_of(self)->memory.obj != nullptr) PyBuffer_Release(&self_of(self)->memory);
  type->tp_free(self);
  Py_DECREF(type);
}

PyObject* push(PyObject* self, PyObject* record) {
  Py_buffer bytes;
  if (PyObject_GetBuffer(record, &bytes, PyBUF_SIMPLE) != 0) return nullptr;
  RingObject& ring = *self_of(self);
  if (bytes.len > ring.longest) {
    PyErr_Format(PyExc_ValueError, "a record of %zd bytes, expected at most %zd", bytes.len, ring.longest);
    PyBuffer_Release(&bytes);
    return nullptr;
  }
  const bool pushed =
      ring.ends->writer.put({static_cast<const std::byte*>(bytes.buf), static_cast<std::size_t>(bytes.len)});
  PyBuffer_Release(&bytes);
  return PyBool_FromLong(pushed);
}

PyObject* wake(PyObject* self, PyObject*) {
  auto& writer = self_of(self)->ends->writer;
  if (writer.reader_sleeps()) writer.wake_reader();
  Py_RETURN_NONE;
}

PyObject* reader_sleeps(PyObject* self, PyObject*) {
  return PyBool_FromLong(self_of(self)->ends->writer.reader_sleeps());
}

PyObject* pop(PyObject* self, PyObject*) {
  auto& reader = self_of(self)->ends->reader;
  std::span<const std::byte> record;
  switch (reader.peek(record)) {
    case RingReader::Found::nothing: Py_RETURN_NONE;
    case RingReader::Found::corrupt: PyErr_SetString(PyExc_ValueError, "the ring is damaged"); return nullptr;
    case RingReader::Found::record: break;
  }
  PyObject* const copy =
      PyBytes_FromStringAndSize(reinterpret_cast<const char*>(record.data()), static_cast<Py_ssize_t>(record.size()));
  if (copy != nullptr) reader.drop();
  return copy;
}

PyObject* wait(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  TimePoint until = TimePoint::max();
  if (count > 0 && arguments[0] != Py_None) {
    const double seconds = PyFloat_AsDouble(arguments[0]);
    if (PyErr_Occurred() != nullptr) return nullptr;
    if (seconds < 1e6) {
      until = SteadyClock().now() + std::chrono::duration_cast<Nanos>(std::chrono::duration<double>(seconds));
    }
  }
  auto& reader = self_of(self)->ends->reader;
  Py_BEGIN_ALLOW_THREADS;
  reader.sleep(until);
  Py_END_ALLOW_THREADS;
  Py_RETURN_NONE;
}

PyObject* longest(PyObject* self, void*) { return PyLong_FromSsize_t(self_of(self)->longest); }

template <class Function>
void* slot(Function* function) {
  return reinterpret_cast<void*>(function);
}

}  // namespace

PyObject* make_ring_type() {
  static PyMethodDef methods[] = {
      {"push", push, METH_O, "False: no room now. `record` is at most `longest` bytes. Wakes nobody."},
      {"wake", wake, METH_NOARGS, "Wakes the reader if it sleeps."},
      {"reader_sleeps", reader_sleeps, METH_NOARGS, "Whether the reader asked to be woken."},
      {"pop", pop, METH_NOARGS, "A copy of the next record, None when there is none."},
      {"wait", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(wait)), METH_FASTCALL,
       "Waits until there may be a record, at most so many seconds (None: for ever), the interpreter lock released."},
      {nullptr, nullptr, 0, nullptr}};
  static PyGetSetDef properties[] = {{"longest", longest, nullptr, "Of a record, in bytes.", nullptr},
                                     {nullptr, nullptr, nullptr, nullptr, nullptr}};
  static PyType_Slot slots[] = {{Py_tp_new, slot(make)},
                                {Py_tp_dealloc, slot(destroy)},
                                {Py_tp_methods, methods},
                                {Py_tp_getset, properties},
                                {0, nullptr}};
  static PyType_Spec spec = {"argosy._worker.Ring", sizeof(RingObject), 0, Py_TPFLAGS_DEFAULT, slots};
  return PyType_FromSpec(&spec);
}

}  // namespace argosy::python
