#pragma once

// ControlClient: single calls outside the measured stream (metadata, configuration,
// statistics), each waited for, on a connection of its own.
//
// Thread: one.

#include <memory>
#include <string>

#include "load/connection.h"
#include "load/model_card.h"
#include "load/server_statistics.h"

namespace argosy::load {

class ControlClient final : private OutcomeListener {
 public:
  ControlClient(bool grpc, Target target, Address address);
  ~ControlClient() override;

  Result<std::string> call(const Exchange& exchange);  // the answer's body, or what went wrong

  Result<ModelCard> model_card();
  Result<ServerStatistics> statistics();

 private:
  void on_outcome(Connection& from, std::uint64_t tag, const Outcome& outcome) override;

  const bool grpc_;
  const Target target_;
  const Address address_;
  int epoll_ = -1;
  std::unique_ptr<Connection> connection_;
  bool answered_ = false;
  Status status_;
  std::string body_;
};

}  // namespace argosy::load
