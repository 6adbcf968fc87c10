#pragma once

// Snapshot<T>: a published immutable value with many readers and one replacer.
//
// A reader keeps what it read alive for as long as it holds the pointer; publish()
// never waits for readers. Readers must not cache the pointer across requests, or
// they will not see a newer value.
//
// Thread: any for read(); publishers must take turns among themselves.

#include <atomic>
#include <memory>
#include <utility>

namespace argosy {

template <class T>
class Snapshot {
 public:
  explicit Snapshot(std::shared_ptr<const T> first) : value_(std::move(first)) {}

  std::shared_ptr<const T> read() const { return value_.load(std::memory_order_acquire); }
  void publish(std::shared_ptr<const T> next) { value_.store(std::move(next), std::memory_order_release); }

 private:
  std::atomic<std::shared_ptr<const T>> value_;
};

}  // namespace argosy
