#pragma once

// Backend: makes models runnable. Backend loads a model once per server (weights are
// shared), LoadedModel makes instances, an Instance executes batches.
//
// An instance says how it wants its work: `gathered`, one tensor per input with the
// rows of all requests joined, outputs likewise; or `pieces`, the requests as they
// are, each answered on its own (decoupled models, Python models).
//
// Thread: Backend and LoadedModel: loader threads, several at a time. Instance: its
// own runner thread for execute() unless it says any_thread(), any thread for healthy().

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes_pool.h"
#include "base/status.h"
#include "infer/request.h"
#include "model/spec.h"

namespace argosy::backend {

enum class Intake : std::uint8_t { gathered, pieces };

class DeviceModel;  // backend/device_model.h

struct Batch {
  // Arrival order, never empty. `pieces`: an instance may move a request out and
  // answer it later through its own Reply (decoupled).
  std::vector<infer::RequestPtr> requests;
  std::uint32_t rows = 0;      // of all requests together
  std::uint32_t run_rows = 0;  // on a device: that it runs with, padding included

  // gathered: one per model input, in the model's order, batch dimension included, then
  // one per batch input; an optional input nobody sent has no name. execute() fills
  // `outputs` (any order, named, batch dimension included); `wanted[i]` says whether
  // anybody asked for model output i.
  std::vector<tensor::Tensor> inputs;
  std::vector<bool> wanted;
  std::vector<tensor::Tensor> outputs;

  // pieces: execute() sets one answer per request it left in place.
  std::vector<infer::Response> answers;

  // Written by execute() where it knows better than the runner; zero: not written.
  TimePoint input_ready{};
  TimePoint output_ready{};
};

class Instance {
 public:
  virtual ~Instance() = default;
  virtual Intake intake() const { return Intake::gathered; }

  // Runs one batch. `pieces`: a failure is every request's answer (those still in place).
  // `gathered`: after a failure the same requests may come again, fewer at a time; alone,
  // it is the request's answer.
  virtual Status execute(Batch& batch) = 0;

  // Whether execute() may be called from any thread, one at a time. Then a short batch may
  // run on the thread that brings it.
  virtual bool any_thread() const { return false; }

  // What enqueues this instance's work on its slot's stream; then execute() is not called.
  // Null: there is no such thing. Asked once, for an instance on a GPU; lives as long as
  // the instance.
  virtual DeviceModel* device_model() { return nullptr; }

  // Not ok: the model is not ready, and why.
  virtual Status healthy() const { return {}; }

  // The same where finding out takes time: `done` is called once, on any thread,
  // perhaps before this returns. Must not block.
  using Health = std::function<void(Status)>;
  virtual void ask_healthy(Health done) const { done(healthy()); }
};

// What the loader grants one instance.
struct InstanceSlot {
  std::string name;  // "<model>_<group>_<index>"
  model::InstanceKind kind = model::InstanceKind::cpu;
  int device = 0;                 // which GPU
  void* stream = nullptr;         // GPU: where the instance computes, as Stream::native(); outlives the instance
  std::uint32_t index = 0;        // of this instance within the model
  std::uint32_t instances = 1;    // of the model in total
  std::uint32_t cpu_threads = 1;  // its share of the server's thread budget
};

class LoadedModel {
 public:
  virtual ~LoadedModel() = default;
  virtual Result<std::unique_ptr<Instance>> make_instance(const InstanceSlot& slot) = 0;

  // Where large requests for this model are best received, so that its instances can use
  // them where they lie; it may have no room. Null: anywhere. Asked once, before there
  // are instances; may outlive the model.
  virtual std::shared_ptr<BytesPool> receive_pool() { return nullptr; }
};

class Backend {
 public:
  virtual ~Backend() = default;
  // The first slot's resources describe what each instance will get.
  virtual Result<std::unique_ptr<LoadedModel>> load(const model::SpecPtr& spec, const InstanceSlot& first) = 0;
};

}  // namespace argosy::backend
