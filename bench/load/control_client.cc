#include "load/control_client.h"

#include <sys/epoll.h>
#include <unistd.h>

#include "base/time.h"

namespace argosy::load {
namespace {

constexpr std::chrono::seconds kPatience{10};

}  // namespace

ControlClient::ControlClient(bool grpc, Target target, Address address)
    : grpc_(grpc), target_(std::move(target)), address_(address), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {}

ControlClient::~ControlClient() {
  connection_.reset();
  ::close(epoll_);
}

void ControlClient::on_outcome(Connection&, std::uint64_t, const Outcome& outcome) {
  answered_ = true;
  status_ = outcome.status;
  body_ = outcome.body;
}

Result<std::string> ControlClient::call(const Exchange& exchange) {
  if (!connection_ || !connection_->is_open()) {
    connection_ = grpc_ ? make_grpc_connection(*this, target_.authority) : make_http_connection(*this);
    if (auto status = connection_->open(epoll_, address_); !status.ok()) return status;
  }
  answered_ = false;
  connection_->begin(exchange, 0);
  connection_->flush();
  const SteadyClock clock;
  const TimePoint deadline = clock.now() + kPatience;
  while (!answered_) {
    if (clock.now() > deadline) return deadline_exceeded(target_.authority + " gave no answer within 10 s");
    epoll_event event{};
    if (::epoll_wait(epoll_, &event, 1, 100) > 0) connection_->on_events(event.events);
  }
  if (!status_.ok()) return status_;
  return body_;
}

Result<ModelCard> ControlClient::model_card() {
  const std::string message = model_request_message(target_);
  auto metadata = call(grpc_ ? grpc_call("ModelMetadata", message) : http_get(target_, model_path(target_)));
  if (!metadata.ok()) return metadata.status();
  auto card = grpc_ ? model_card_from_proto(*metadata) : model_card_from_json(*metadata);
  if (!card.ok()) return card;
  // An extension: a server without it is asked once and not again.
  auto config = call(grpc_ ? grpc_call("ModelConfig", message) : http_get(target_, model_path(target_) + "/config"));
  if (config.ok())
    card->max_batch_size = grpc_ ? max_batch_size_from_proto(*config) : max_batch_size_from_json(*config);
  return card;
}

Result<ServerStatistics> ControlClient::statistics() {
  auto body = call(grpc_ ? grpc_call("ModelStatistics", model_request_message(target_))
                         : http_get(target_, model_path(target_) + "/stats"));
  if (!body.ok()) return body.status();
  return grpc_ ? statistics_from_proto(*body) : statistics_from_json(*body);
}

}  // namespace argosy::load
