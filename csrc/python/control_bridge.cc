#include "python/control_bridge.h"

#include <pybind11/stl.h>

#include <string>
#include <utility>

#include "python/bind.h"
#include "python/gil.h"
#include "python/status_caster.h"

namespace argosy::python {
namespace py = pybind11;

namespace {

// The way back of one control request, held by Python. Dropped unanswered, it says so.
class Answering {
 public:
  explicit Answering(serve::ControlReply reply) : reply_(std::move(reply)) {}
  Answering(const Answering&) = delete;
  Answering& operator=(const Answering&) = delete;
  ~Answering() {
    if (reply_) reply_(failure(internal_error("the control request was dropped unanswered")));
  }

  void answer(const std::string& code, const std::string& message, int http_status, const serve::Headers& headers,
              const py::bytes& body) {
    auto reply = std::exchange(reply_, nullptr);
    if (!reply) return;
    serve::ControlAnswer answer{status(code, message), http_status, headers, Bytes::take(std::string(body))};
    py::gil_scoped_release release;
    reply(std::move(answer));
  }

  static serve::ControlAnswer failure(Status status) { return {std::move(status), 500, {}, {}}; }

 private:
  static Status status(const std::string& code, const std::string& message) {
    return code == "ok" ? Status() : failure_of(code, message);
  }

  serve::ControlReply reply_;
};

}  // namespace

PythonControl::PythonControl(PyThread& thread, py::object handler)
    : thread_(thread), handler_(native_owner(std::move(handler))) {}

void PythonControl::handle(serve::ControlRequest request, serve::ControlReply reply) {
  auto asked = std::make_shared<serve::ControlRequest>(std::move(request));
  auto answering = std::make_shared<Answering>(std::move(reply));
  thread_.post([handler = handler_, asked, answering](const GilHeld&) {
    const py::handle call(static_cast<PyObject*>(const_cast<void*>(handler.get())));
    try {
      call(asked->protocol == serve::Protocol::http ? "http" : "grpc", asked->method, asked->path, asked->headers,
           py::bytes(asked->body.view().data(), asked->body.size()),
           py::cpp_function([answering](const std::string& code, const std::string& message, int http_status,
                                        const serve::Headers& headers, const py::bytes& body) {
             answering->answer(code, message, http_status, headers, body);
           }));
    } catch (py::error_already_set& error) {
      answering->answer("internal", error.what(), 500, {}, py::bytes());
    }
  });
}

}  // namespace argosy::python
