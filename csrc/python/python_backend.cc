#include "python/python_backend.h"

#include <utility>

#include "python/batch_view.h"
#include "python/gil.h"
#include "python/spec_convert.h"
#include "python/status_caster.h"

namespace argosy::python {
namespace py = pybind11;

namespace {

// A Python object that may be destroyed on any thread: it dies under the lock.
class Held {
 public:
  explicit Held(py::object object) : object_(std::move(object)) {}
  Held(Held&&) noexcept = default;
  ~Held() {
    if (object_) with_gil([&](const GilHeld&) { object_ = py::object(); });
  }
  const py::object& get() const { return object_; }

 private:
  py::object object_;
};

// Runs Python, turning whatever it raises into a Status while the lock is still held.
template <class F>
Status guarded(F&& body) {
  return with_gil([&](const GilHeld&) -> Status {
    try {
      body();
      return {};
    } catch (py::error_already_set& error) {
      return status_of(error);
    } catch (const std::exception& error) {
      return internal_error(error.what());
    }
  });
}

class PythonInstance final : public backend::Instance {
 public:
  PythonInstance(py::object instance, model::SpecPtr spec)
      : execute_(instance.attr("execute")), instance_(std::move(instance)), spec_(std::move(spec)) {}

  ~PythonInstance() override {
    const Status closed = guarded([&] {
      if (py::hasattr(instance_.get(), "close")) instance_.get().attr("close")();
    });
    (void)closed;  // nobody is left to tell; the backend's own log has it
  }

  Status execute(backend::Batch& batch) override {
    return guarded([&] {
      auto view = std::make_shared<BatchView>(batch, *spec_);
      struct Close {
        BatchView& view;
        ~Close() { view.close(); }
      } close{*view};
      execute_.get()(py::cast(view));
    });
  }

 private:
  Held execute_;
  Held instance_;
  model::SpecPtr spec_;
};

class PythonModel final : public backend::LoadedModel {
 public:
  PythonModel(py::object model, model::SpecPtr spec) : model_(std::move(model)), spec_(std::move(spec)) {}

  Result<std::unique_ptr<backend::Instance>> make_instance(const backend::InstanceSlot& slot) override {
    std::unique_ptr<backend::Instance> made;
    const Status status = guarded([&] {
      made = std::make_unique<PythonInstance>(model_.get().attr("make_instance")(slot_to_dict(slot)), spec_);
    });
    if (!status.ok()) return status;
    return made;
  }

 private:
  Held model_;
  model::SpecPtr spec_;
};

class PythonBackend final : public backend::Backend {
 public:
  explicit PythonBackend(py::object backend) : backend_(std::move(backend)) {}

  Result<std::unique_ptr<backend::LoadedModel>> load(const model::SpecPtr& spec,
                                                     const backend::InstanceSlot& first) override {
    std::unique_ptr<backend::LoadedModel> made;
    const Status status = guarded([&] {
      made = std::make_unique<PythonModel>(backend_.get().attr("load")(spec_to_dict(*spec), slot_to_dict(first)), spec);
    });
    if (!status.ok()) return status;
    return made;
  }

 private:
  Held backend_;
};

}  // namespace

std::shared_ptr<backend::Backend> make_python_backend(py::object backend) {
  return std::make_shared<PythonBackend>(std::move(backend));
}

}  // namespace argosy::python
