#pragma once

// Loader: from a specification to a model that serves: backend, instances, warm-up.
// Publishes nothing; what fails is taken apart before it returns.
//
// Thread: any; blocks while the model loads. Several at a time.

#include <memory>

#include "backend/registry.h"
#include "base/bytes_pool.h"
#include "device/open_devices.h"
#include "engine/expiry.h"
#include "engine/model.h"
#include "engine/queued_bytes.h"

namespace argosy::engine {

struct Resources {
  std::uint32_t cpu_threads = 1;  // the server's budget
  device::OpenDevices devices;
};

// What each instance of `spec` gets: the budget divided over them, at least one thread
// each. unsupported: a group asks for a GPU that is not there.
Result<std::vector<backend::InstanceSlot>> slots_of(const model::ModelSpec& spec, const Resources& resources);

class Loader {
 public:
  Loader(Resources resources, std::shared_ptr<backend::Registry> backends, const Clock& clock, BytesPool& pool,
         std::shared_ptr<QueuedBytes> queued_bytes, std::shared_ptr<Expiry> expiry)
      : resources_(std::move(resources)),
        backends_(std::move(backends)),
        clock_(clock),
        pool_(pool),
        queued_bytes_(std::move(queued_bytes)),
        expiry_(std::move(expiry)) {}

  Result<std::unique_ptr<Model>> load(model::ModelSpec spec);

 private:
  const Resources resources_;
  const std::shared_ptr<backend::Registry> backends_;
  const Clock& clock_;
  BytesPool& pool_;
  const std::shared_ptr<QueuedBytes> queued_bytes_;
  const std::shared_ptr<Expiry> expiry_;
};

}  // namespace argosy::engine
