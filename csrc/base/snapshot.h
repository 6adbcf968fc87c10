#pragma once

// Snapshot<T>: a published immutable value with many readers and one replacer.
//
// A reader keeps what it read alive for as long as it holds the pointer; publish()
// never waits for readers. Readers must not cache the pointer across requests, or
// they will not see a newer value.
//
// Thread: any for read(); publishers must take turns among themselves.

#include <memory>
#include <utility>

#include "base/guarded.h"

namespace argosy {

template <class T>
class Snapshot {
 public:
  explicit Snapshot(std::shared_ptr<const T> first) : value_(std::move(first)) {}

  // A lock for the length of a reference count: std::atomic<std::shared_ptr> is a spin
  // lock in libstdc++ too, and before GCC 13 one whose readers do not order their read
  // against the next write.
  std::shared_ptr<const T> read() const {
    auto value = value_.lock();
    return *value;
  }
  void publish(std::shared_ptr<const T> next) {
    auto value = value_.lock();
    value->swap(next);  // the old value dies after the lock: `next` is destroyed later
  }

 private:
  mutable Guarded<std::shared_ptr<const T>> value_;
};

}  // namespace argosy
