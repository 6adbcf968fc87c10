#include "python/python_backend.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "backend/device_model.h"
#include "model/ragged.h"
#include "python/batch_view.h"
#include "python/device_batch.h"
#include "python/gil.h"
#include "python/spec_convert.h"
#include "python/status_caster.h"

namespace argosy::python {
namespace py = pybind11;

namespace {

constexpr std::int64_t kMostRows = 1 << 30;
constexpr std::int64_t kMostDepth = 64;

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

// The instance's own words on how its batches shall come.
backend::DeviceSettings settings_of(const py::object& instance, const std::string& model) {
  backend::DeviceSettings settings;
  const py::object rows = py::getattr(instance, "allowed_rows", py::none());
  std::uint32_t last = 0;
  for (const auto item : rows.is_none() ? py::tuple() : py::tuple(rows)) {
    const auto allowed = item.cast<std::int64_t>();
    if (allowed <= static_cast<std::int64_t>(last) || allowed > kMostRows) {
      raise(invalid_argument("model '" + model +
                             "': an instance's allowed_rows must be ascending numbers above 0, got " +
                             py::repr(rows).cast<std::string>()));
    }
    settings.allowed_rows.push_back(last = static_cast<std::uint32_t>(allowed));
  }
  const py::object depth = py::getattr(instance, "depth", py::none());
  if (depth.is_none()) return settings;
  const auto batches = depth.cast<std::int64_t>();
  if (batches < 1 || batches > kMostDepth) {
    raise(invalid_argument("model '" + model + "': an instance's depth must be in 1.." + std::to_string(kMostDepth) +
                           ", got " + std::to_string(batches)));
  }
  settings.depth = static_cast<std::uint32_t>(batches);
  return settings;
}

bool has(const py::object& instance, const char* method) {
  return !py::getattr(instance, method, py::none()).is_none();
}

class PythonInstance final : public backend::Instance, private backend::DeviceModel {
 public:
  // Raises when the instance offers nothing that could be called here.
  PythonInstance(py::object instance, model::SpecPtr spec, const backend::InstanceSlot& slot)
      : instance_(std::move(instance)), spec_(std::move(spec)), place_{device::MemoryKind::device, slot.device} {
    const py::object& object = instance_.get();
    // What has no form on a device is run by execute().
    const bool strings = std::ranges::any_of(
        spec_->inputs, [](const model::TensorSpec& input) { return input.dtype == tensor::DType::bytes; });
    if (slot.kind == model::InstanceKind::gpu && !strings && has(object, "enqueue")) {
      enqueue_.emplace(object.attr("enqueue"));
      settings_ = settings_of(object, spec_->name);
    } else if (has(object, "execute")) {
      execute_.emplace(object.attr("execute"));
      any_thread_ = py::getattr(object, "any_thread", py::bool_(false)).cast<bool>();
    } else {
      raise(invalid_argument("model '" + spec_->name + "': its instance '" + slot.name + "' has no execute(batch)" +
                             (strings ? ", which models with BYTES inputs need" : "")));
    }
  }

  ~PythonInstance() override {
    const Status closed = guarded([&] {
      if (py::hasattr(instance_.get(), "close")) instance_.get().attr("close")();
    });
    (void)closed;  // nobody is left to tell; the backend's own log has it
  }

  Status execute(backend::Batch& batch) override {
    return guarded([&] { show(execute_->get(), std::make_shared<BatchView>(batch, *spec_)); });
  }

  bool any_thread() const override { return any_thread_; }

  backend::DeviceModel* device_model() override { return enqueue_ ? this : nullptr; }

 private:
  backend::DeviceSettings settings() const override { return settings_; }

  Status enqueue(device::Stream& stream, backend::Batch& batch, backend::OutputMemory& memory) override {
    return guarded(
        [&] { show(enqueue_->get(), std::make_shared<DeviceBatchView>(batch, *spec_, stream, memory, place_)); });
  }

  // Calls `method` with the view, which Python may keep but not use afterwards.
  template <class View>
  static void show(const py::object& method, std::shared_ptr<View> view) {
    struct Close {
      View& view;
      ~Close() { view.close(); }
    } close{*view};
    method(py::cast(view));
  }

  Held instance_;
  std::optional<Held> execute_, enqueue_;  // one of them
  bool any_thread_ = false;
  const model::SpecPtr spec_;
  const device::Place place_;
  backend::DeviceSettings settings_;
};

class PythonModel final : public backend::LoadedModel {
 public:
  PythonModel(py::object model, model::SpecPtr spec) : model_(std::move(model)), spec_(std::move(spec)) {}

  Result<std::unique_ptr<backend::Instance>> make_instance(const backend::InstanceSlot& slot) override {
    std::unique_ptr<backend::Instance> made;
    const Status status = guarded([&] {
      made = std::make_unique<PythonInstance>(model_.get().attr("make_instance")(slot_to_dict(slot)), spec_, slot);
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
      refuse_ragged(*spec);
      made = std::make_unique<PythonModel>(backend_.get().attr("load")(spec_to_dict(*spec), slot_to_dict(first)), spec);
    });
    if (!status.ok()) return status;
    return made;
  }

 private:
  // A backend that does not say it knows flat inputs and batch inputs would compute something else from them.
  void refuse_ragged(const model::ModelSpec& spec) {
    if (!model::is_ragged(spec)) return;
    if (py::getattr(backend_.get(), "takes_ragged_batches", py::bool_(false)).cast<bool>()) return;
    raise(unsupported("model '" + spec.name + "': its backend '" + spec.backend +
                      "' does not take ragged batches (allow_ragged_batch, batch_input, batch_output); one that does "
                      "has a true attribute takes_ragged_batches"));
  }

  Held backend_;
};

}  // namespace

std::shared_ptr<backend::Backend> make_python_backend(py::object backend) {
  return std::make_shared<PythonBackend>(std::move(backend));
}

}  // namespace argosy::python
