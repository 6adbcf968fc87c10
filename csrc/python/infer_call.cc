#include "python/infer_call.h"

#include <pybind11/stl.h>

#include <chrono>
#include <utility>
#include <vector>

#include "python/bind.h"
#include "python/gil.h"
#include "python/status_caster.h"
#include "python/tensor_convert.h"

namespace argosy::python {
namespace py = pybind11;

namespace {

py::object parameter_value(const infer::Parameter& parameter) {
  return std::visit([](const auto& value) -> py::object { return py::cast(value); }, parameter.value);
}

infer::Parameters parameters_from(const py::dict& from) {
  infer::Parameters out;
  for (const auto& [key, value] : from) {
    const auto name = key.cast<std::string>();
    if (py::isinstance<py::bool_>(value)) {
      out.push_back({name, value.cast<bool>()});
    } else if (py::isinstance<py::int_>(value)) {
      out.push_back({name, value.cast<std::int64_t>()});
    } else if (py::isinstance<py::float_>(value)) {
      out.push_back({name, value.cast<double>()});
    } else if (py::isinstance<py::str>(value)) {
      out.push_back({name, value.cast<std::string>()});
    } else {
      raise(invalid_argument("parameter '" + name + "': expected bool, int, float or str, got " +
                             py::str(py::type::of(value)).cast<std::string>()));
    }
  }
  return out;
}

py::tuple response_to_python(const infer::Response& response) {
  py::dict outputs, parameters;
  for (const auto& output : response.outputs) outputs[py::str(output.name)] = to_numpy(output);
  for (const auto& parameter : response.parameters) parameters[py::str(parameter.name)] = parameter_value(parameter);
  return py::make_tuple(outputs, parameters);
}

template <class T>
T option(const py::dict& options, const char* name, T otherwise) {
  if (!options.contains(name) || options[name].is_none()) return otherwise;
  return options[name].cast<T>();
}

infer::RequestPtr request_from(const model::ModelSpec& spec, const py::dict& inputs, const py::dict& options,
                               const Clock& clock) {
  auto request = std::make_unique<infer::Request>();
  request->timings.received = clock.now();
  for (const auto& [key, value] : inputs) {
    const auto name = key.cast<std::string>();
    bool as_bf16 = false;
    for (const auto& input : spec.inputs) as_bf16 |= input.name == name && input.dtype == tensor::DType::bf16;
    request->inputs.push_back(take(from_numpy(name, value, as_bf16)));
    request->bytes += request->inputs.back().data.size();
  }
  request->id = option<std::string>(options, "id", "");
  request->wanted = option<std::vector<std::string>>(options, "outputs", {});
  request->priority = option<std::uint64_t>(options, "priority", 0);
  request->timeout_us = option<std::uint64_t>(options, "timeout_us", 0);
  if (options.contains("parameters")) request->parameters = parameters_from(options["parameters"].cast<py::dict>());
  if (options.contains("sequence_id")) {
    if (py::isinstance<py::str>(options["sequence_id"])) {
      request->sequence.id = options["sequence_id"].cast<std::string>();
    } else {
      request->sequence.id = options["sequence_id"].cast<std::uint64_t>();
    }
  }
  request->sequence.start = option(options, "sequence_start", false);
  request->sequence.end = option(options, "sequence_end", false);
  return request;
}

struct StreamSink final : infer::ReplySink {
  explicit StreamSink(std::shared_ptr<ResponseStream> to) : stream(std::move(to)) {}
  void send(infer::Response response, bool last) override { stream->add(std::move(response), last); }
  std::shared_ptr<ResponseStream> stream;
};

// Collects every response, then calls done(responses, error) on the Python thread.
struct CallbackSink final : infer::ReplySink {
  CallbackSink(Runtime& to, py::object call) : runtime(to), done(native_owner(std::move(call))) {}
  void send(infer::Response response, bool last) override {
    if (!response.status.ok() && failure.ok()) failure = response.status;
    response.window.reset();  // all are collected: nothing would ever make room
    responses.push_back(std::move(response));
    if (!last) return;
    runtime.python.post(
        [done = std::move(done), failure = std::move(failure),
         responses = std::make_shared<std::vector<infer::Response>>(std::move(responses))](const GilHeld&) {
          auto* raw = static_cast<PyObject*>(const_cast<void*>(done.get()));
          try {
            py::object error = py::none();
            if (!failure.ok()) error = to_exception(failure);
            py::list list;
            for (const auto& one : *responses) list.append(response_to_python(one));
            py::reinterpret_borrow<py::object>(raw)(list, error);
          } catch (py::error_already_set& problem) {
            problem.discard_as_unraisable("argosy inference callback");
          }
        });
  }
  Runtime& runtime;
  std::shared_ptr<const void> done;
  Status failure;
  std::vector<infer::Response> responses;
};

template <class MakeSink>
std::shared_ptr<ResponseStream> start(Runtime& runtime, const std::string& name, std::int64_t version,
                                      const py::dict& inputs, const py::dict& options, MakeSink make_sink) {
  // Arrays of earlier calls that native threads let go of; here nobody else may come by.
  with_gil([](const GilHeld&) {});
  engine::ModelHandle model = take(runtime.engine.find(name, version));
  const model::ModelSpec& spec = engine::spec_of(model);
  auto request = request_from(spec, inputs, options, runtime.clock);
  auto stream = std::make_shared<ResponseStream>(model::SpecPtr(model, &spec));
  request->cancellation = stream->cancellation;
  request->reply.wrap([&](auto) { return make_sink(stream); });
  {
    py::gil_scoped_release release;
    runtime.engine.submit(model, std::move(request));
  }
  return stream;
}

}  // namespace

void ResponseStream::add(infer::Response response, bool last) {
  {
    auto state = state_.lock();
    // A last response without outputs only ends the stream.
    if (!last || !response.status.ok() || !response.outputs.empty()) state->waiting.push_back(std::move(response));
    state->ended = state->ended || last;
  }
  changed_.notify_one();
}

py::object ResponseStream::next() {
  for (;;) {
    std::optional<infer::Response> response;
    bool ended = false;
    {
      py::gil_scoped_release release;
      // Wakes now and then so that Ctrl-C is heard.
      const TimePoint look_up = std::chrono::steady_clock::now() + std::chrono::milliseconds(200);
      auto state = state_.lock();
      while (state->waiting.empty() && !state->ended && std::chrono::steady_clock::now() < look_up) {
        state.wait_until(changed_, look_up);
      }
      if (!state->waiting.empty()) {
        response = std::move(state->waiting.front());
        state->waiting.pop_front();
      }
      ended = state->ended;
    }
    if (PyErr_CheckSignals() != 0) {
      cancel();
      throw py::error_already_set();
    }
    if (response) {
      check(response->status);
      return response_to_python(*response);
    }
    if (ended) throw py::stop_iteration();
  }
}

std::shared_ptr<ResponseStream> infer_stream(Runtime& runtime, const std::string& name, std::int64_t version,
                                             const py::dict& inputs, const py::dict& options) {
  return start(runtime, name, version, inputs, options,
               [](const auto& stream) { return std::make_unique<StreamSink>(stream); });
}

py::list infer_blocking(Runtime& runtime, const std::string& name, std::int64_t version, const py::dict& inputs,
                        const py::dict& options) {
  const auto stream = infer_stream(runtime, name, version, inputs, options);
  py::list out;
  for (;;) {
    try {
      out.append(stream->next());
    } catch (py::stop_iteration&) {
      return out;
    }
  }
}

std::shared_ptr<ResponseStream> infer_async(Runtime& runtime, const std::string& name, std::int64_t version,
                                            const py::dict& inputs, const py::dict& options, py::object done) {
  return start(runtime, name, version, inputs, options,
               [&](const auto&) { return std::make_unique<CallbackSink>(runtime, std::move(done)); });
}

void bind_infer(py::module_& m) {
  py::class_<ResponseStream, std::shared_ptr<ResponseStream>>(m, "ResponseStream",
                                                              "The responses of one request, as they come.")
      .def("__iter__", [](std::shared_ptr<ResponseStream> self) { return self; })
      .def("__next__", &ResponseStream::next)
      .def("cancel", &ResponseStream::cancel, "Tells the model that nobody waits any more.");
}

}  // namespace argosy::python
