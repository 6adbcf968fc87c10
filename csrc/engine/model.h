#pragma once

// Model: one loaded version of a model: its lane, its instances, and the backend's
// object they share.
//
// Thread: lane(), receive_pool(), health() any. shut_down() and the destructor wait for the instance
// threads: never on a request's path; a ModelHandle's last owner hands the model to the
// Reaper instead.

#include <memory>
#include <optional>
#include <vector>

#include "backend/backend.h"
#include "base/bytes_pool.h"
#include "engine/instance_runner.h"
#include "engine/lane.h"

namespace argosy::engine {

struct Granted {
  backend::InstanceSlot slot;
  std::optional<assemble::DeviceResources> device;  // of a GPU instance
};

class Model {
 public:
  Model(std::shared_ptr<Lane> lane, std::shared_ptr<backend::Backend> backend,
        std::unique_ptr<backend::LoadedModel> loaded);
  ~Model() { shut_down(); }

  // Starts one runner per slot, beside each other; the first failure, when all have
  // tried. Once.
  Status start(std::vector<Granted> granted, BytesPool& pool);

  Status health();  // of the first unhealthy instance
  void ask_health(backend::Instance::Health done);

  const std::optional<device::Place>& takes_inputs_on() const { return takes_inputs_on_; }

  BytesPool* receive_pool() const { return receive_pool_.get(); }  // null: any

  Lane& lane() { return *lane_; }
  // Queues the request; a short batch may run before this returns.
  void submit_or_run(infer::RequestPtr request);
  const std::shared_ptr<Lane>& shared_lane() const { return lane_; }

  void close(Status refusal) { lane_->close(std::move(refusal)); }
  void abandon(const Status& why);  // after close()
  void shut_down();                 // closes, drains, joins; idempotent, one thread at a time

  Nanos load_time{};  // written before the model is published

 private:
  const std::shared_ptr<Lane> lane_;
  std::shared_ptr<backend::Backend> backend_;  // outlives what it loaded
  std::unique_ptr<backend::LoadedModel> loaded_;
  const std::shared_ptr<BytesPool> receive_pool_;         // outlives the model's shut-down, as its handles may
  std::vector<std::unique_ptr<InstanceRunner>> runners_;  // fixed after start()
  std::optional<device::Place> takes_inputs_on_;          // likewise
};

}  // namespace argosy::engine
