#pragma once

// GilHeld: proof, in a signature, that the caller holds the interpreter lock.
// with_gil() is the only maker of one. A native thread's first call keeps its Python
// thread state for the thread's life: making and destroying one on every call costs
// three times the call itself (measured 13 us against 4).
//
// Drop: a Python object owned from native code. Tensors backed by Python memory die on
// I/O threads, which must never take the lock; their objects go to a list that is
// emptied by the next thread that holds the lock anyway.
//
// Thread: any, unless it holds a lock that a Python thread could want.

#include <pybind11/pybind11.h>

#include <cstddef>
#include <memory>
#include <utility>

namespace argosy::python {

class GilHeld {
 public:
  GilHeld(const GilHeld&) = delete;
  GilHeld& operator=(const GilHeld&) = delete;

 private:
  template <class F>
  friend decltype(auto) with_gil(F&& f);
  GilHeld() = default;
};

void keep_thread_state();          // once per native thread; later calls are free
void empty_drops(const GilHeld&);  // releases what native threads let go of
std::size_t waiting_drops();

template <class F>
decltype(auto) with_gil(F&& f) {
  keep_thread_state();
  pybind11::gil_scoped_acquire held;
  const GilHeld token;
  empty_drops(token);
  return std::forward<F>(f)(token);
}

// Keeps `object` alive as the owner of native memory; may be released on any thread
// without the lock. Call with the lock held.
std::shared_ptr<const void> native_owner(pybind11::object object);

}  // namespace argosy::python
