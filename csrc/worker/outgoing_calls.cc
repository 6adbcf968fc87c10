#include "worker/outgoing_calls.h"

#include <algorithm>
#include <utility>

namespace argosy::worker {
namespace {

constexpr char kAnswer = 'a';

Status no_door() { return unsupported("this server was started without calls between models"); }

}  // namespace

class OutgoingCalls::Sink final : public infer::ReplySink {
 public:
  Sink(std::shared_ptr<OutgoingCalls> calls, std::uint64_t id) : calls_(std::move(calls)), id_(id) {}
  void send(infer::Response response, bool last) override { calls_->answered(id_, std::move(response), last); }

 private:
  const std::shared_ptr<OutgoingCalls> calls_;
  const std::uint64_t id_;
};

void OutgoingCalls::start(Call call) {
  auto cancellation = std::make_shared<infer::Cancellation>();
  (*open_.lock())[call.id] = {cancellation, call.parents, !call.parents.empty()};
  call.request->cancellation = std::move(cancellation);
  call.request->reply.wrap([&](auto) { return std::make_unique<Sink>(shared_from_this(), call.id); });
  if (!door_) return std::move(call.request->reply).finish({no_door(), {}, {}});
  door_->infer(call.model, call.version, std::move(call.request));
}

void OutgoingCalls::again(const model::ModelSpec& spec, infer::RequestPtr request) {
  if (!door_) return std::move(request->reply).finish({no_door(), {}, {}});
  door_->infer(spec.name, spec.version, std::move(request));
}

void OutgoingCalls::cancel(std::uint64_t id) {
  std::shared_ptr<infer::Cancellation> cancellation;
  {
    auto open = open_.lock();
    if (const auto found = open->find(id); found != open->end()) cancellation = found->second.cancellation;
  }
  if (cancellation) cancellation->cancel();
}

void OutgoingCalls::parent_left(Handle parent) {
  std::vector<std::shared_ptr<infer::Cancellation>> orphans;
  {
    auto open = open_.lock();
    for (auto& [id, call] : *open) {
      if (std::erase(call.parents, parent) != 0 && call.parents.empty()) orphans.push_back(call.cancellation);
    }
  }
  for (const auto& orphan : orphans) orphan->cancel();
}

void OutgoingCalls::cancel_all() {
  std::vector<std::shared_ptr<infer::Cancellation>> all;
  {
    auto open = open_.lock();
    for (auto& [id, call] : *open) all.push_back(call.cancellation);
  }
  for (const auto& one : all) one->cancel();
}

std::size_t OutgoingCalls::open() const { return open_.lock()->size(); }

void OutgoingCalls::answered(std::uint64_t id, infer::Response response, bool last) {
  send(*channel_, id, response, last);
  if (last) open_.lock()->erase(id);
}

void OutgoingCalls::send(Channel& channel, std::uint64_t id, const infer::Response& response, bool last) {
  const auto write = [&](const infer::Response& what, std::vector<std::uint64_t>& lent, Writer& to) {
    to.number(kAnswer).number(static_cast<std::uint8_t>(last)).align(8).number(id);
    auto exchange = channel.exchange();
    return write_response(what, exchange, to, lent);
  };
  std::vector<std::uint64_t> lent;
  Writer message;
  if (!channel.collect_returned()) return;  // whoever reads calls finds the same and ends the worker
  Status status = write(response, lent, message);
  if (status.ok() && !channel.send_return(message)) {
    status = resource_exhausted("a response of " + std::to_string(message.size()) +
                                " bytes does not fit in the worker's shared memory");
  }
  if (status.ok()) return;
  channel.take_back(lent);
  message.clear();
  lent.clear();
  (void)write({std::move(status), {}, {}}, lent, message);  // no tensors, and short: neither can fail
  (void)channel.send_return(message);
}

void OutgoingCalls::control(std::uint64_t id, const std::string& verb, const std::string& arguments) {
  if (!door_) return send(*channel_, id, {no_door(), {}, {}}, true);
  door_->control(verb, arguments, [channel = channel_, id](Status status) {
    send(*channel, id, {std::move(status), {}, {}}, true);
  });
}

void OutgoingCalls::is_ready(std::uint64_t id, const std::string& model, std::int64_t version) {
  if (!door_) return send(*channel_, id, {no_door(), {}, {}}, true);
  door_->ready(model, version, [channel = channel_, id](bool ready) {
    send(*channel, id, {{}, {}, {{"ready", ready}}}, true);
  });
}

}  // namespace argosy::worker
