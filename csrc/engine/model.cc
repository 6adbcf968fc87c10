#include "engine/model.h"

namespace argosy::engine {

Model::Model(std::shared_ptr<Lane> lane, std::shared_ptr<backend::Backend> backend,
             std::unique_ptr<backend::LoadedModel> loaded)
    : lane_(std::move(lane)),
      backend_(std::move(backend)),
      loaded_(std::move(loaded)),
      receive_pool_(loaded_->receive_pool()) {}

Status Model::start(std::vector<Granted> granted, BytesPool& pool) {
  for (auto& [slot, device] : granted) {
    runners_.push_back(std::make_unique<InstanceRunner>(lane_, *loaded_, std::move(slot), std::move(device), pool));
  }
  Status first;
  for (auto& runner : runners_) {
    Status status = runner->wait_ready();
    if (first.ok()) first = std::move(status);
  }
  if (!runners_.empty()) takes_inputs_on_ = runners_.front()->takes_inputs_on();
  for (const auto& runner : runners_) {
    // Nobody knows beforehand which instance will have a request.
    if (runner->takes_inputs_on() != takes_inputs_on_) takes_inputs_on_.reset();
  }
  return first;
}

Status Model::health() {
  for (auto& runner : runners_) {
    Status status = runner->healthy();
    if (!status.ok()) return status;
  }
  return {};
}

void Model::ask_health(backend::Instance::Health done) {
  // Told when the last instance has dropped it.
  struct Asked {
    explicit Asked(backend::Instance::Health to) : done(std::move(to)) {}
    ~Asked() { done(*found.lock()); }
    const backend::Instance::Health done;
    Guarded<Status> found;
  };
  const auto asked = std::make_shared<Asked>(std::move(done));
  for (auto& runner : runners_) {
    runner->ask_healthy([asked](Status status) {
      if (!status.ok()) *asked->found.lock() = std::move(status);
    });
  }
}

void Model::submit_or_run(infer::RequestPtr request) {
  auto loan = lane_->submit_or_borrow(std::move(request));
  if (loan) runners_[loan->instance]->run_loan(std::move(loan->taken));
}

void Model::abandon(const Status& why) {
  lane_->abandon(why);
  for (auto& runner : runners_) runner->cancel_running();
}

void Model::shut_down() {
  if (!lane_->gate().closed()) close(unavailable("model '" + lane_->spec().name + "' is unloading"));
  for (auto& runner : runners_) runner->join();
  loaded_.reset();
  backend_.reset();
}

}  // namespace argosy::engine
