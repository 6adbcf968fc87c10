#pragma once

// Status: the outcome of an operation that can fail; Result<T>: that or a value.
//
// Errors are values. Nothing throws across a room, and both types are
// [[nodiscard]]: a failure that is neither handled nor returned does not compile.
// The code is for programs (it picks the HTTP and gRPC status), the message is for
// people: it names the thing, what came and what was expected.
//
// Thread: values; any.

#include <cassert>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace argosy {

enum class StatusCode : std::uint8_t {
  ok,
  invalid_argument,  // the caller's request is wrong, and stays wrong
  not_found,         // no such model, version, tensor or region
  already_exists,
  unavailable,  // not now: queue full, model loading, draining; a retry may work
  deadline_exceeded,
  cancelled,
  unsupported,         // a valid request this build or model does not serve
  resource_exhausted,  // a server-wide bound was reached; back off
  internal,            // our bug, or a backend's
};

std::string_view to_string(StatusCode code);  // "ok", "invalid_argument", ...

class [[nodiscard]] Status {
 public:
  Status() = default;  // ok
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {
    assert(code != StatusCode::ok);
  }

  bool ok() const { return code_ == StatusCode::ok; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

  friend bool operator==(const Status&, const Status&) = default;

 private:
  StatusCode code_ = StatusCode::ok;
  std::string message_;
};

inline Status invalid_argument(std::string m) { return {StatusCode::invalid_argument, std::move(m)}; }
inline Status not_found(std::string m) { return {StatusCode::not_found, std::move(m)}; }
inline Status already_exists(std::string m) { return {StatusCode::already_exists, std::move(m)}; }
inline Status unavailable(std::string m) { return {StatusCode::unavailable, std::move(m)}; }
inline Status deadline_exceeded(std::string m) { return {StatusCode::deadline_exceeded, std::move(m)}; }
inline Status cancelled(std::string m) { return {StatusCode::cancelled, std::move(m)}; }
inline Status unsupported(std::string m) { return {StatusCode::unsupported, std::move(m)}; }
inline Status resource_exhausted(std::string m) { return {StatusCode::resource_exhausted, std::move(m)}; }
inline Status internal_error(std::string m) { return {StatusCode::internal, std::move(m)}; }

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : held_(std::move(value)) {}
  Result(Status error) : held_(std::move(error)) { assert(!std::get<Status>(held_).ok()); }

  bool ok() const { return std::holds_alternative<T>(held_); }
  Status status() const { return ok() ? Status() : std::get<Status>(held_); }
  T& operator*() & { return std::get<T>(held_); }
  const T& operator*() const& { return std::get<T>(held_); }
  T&& operator*() && { return std::get<T>(std::move(held_)); }
  T* operator->() { return &std::get<T>(held_); }
  const T* operator->() const { return &std::get<T>(held_); }

 private:
  std::variant<T, Status> held_;
};

}  // namespace argosy
