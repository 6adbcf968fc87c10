#pragma once

// OutgoingCalls: the inferences that a model in a worker asked other models for. Each is
// a request like any other; its responses go back to the worker as they come, and it is
// cancelled when the model withdraws it, when the request it is made for is cancelled,
// or when the worker dies.
//
// Thread: start(): whose turn it is to read calls; the rest any.

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/guarded.h"
#include "infer/request.h"
#include "model/spec.h"
#include "worker/channel.h"
#include "worker/door.h"
#include "worker/in_flight.h"

namespace argosy::worker {

class OutgoingCalls : public std::enable_shared_from_this<OutgoingCalls> {
 public:
  // `door` may be null: then every call is refused.
  OutgoingCalls(std::shared_ptr<Channel> channel, std::shared_ptr<Door> door)
      : channel_(std::move(channel)), door_(std::move(door)) {}

  struct Call {
    std::uint64_t id = 0;
    std::vector<Handle> parents;
    std::string model;
    std::int64_t version = -1;
    infer::RequestPtr request;
  };
  void start(Call call);
  void cancel(std::uint64_t id);
  void parent_left(Handle parent);  // cancels the calls whose every parent has left
  void cancel_all();
  std::size_t open() const;

  // A request of this model's own that the model wants to see again: back into its queue.
  void again(const model::ModelSpec& spec, infer::RequestPtr request);

  // Control of the repository and questions; answered as a return as well.
  void control(std::uint64_t id, const std::string& verb, const std::string& arguments);
  void is_ready(std::uint64_t id, const std::string& model, std::int64_t version);
  // Any other question, answered.
  void answer(std::uint64_t id, const infer::Response& response) { send(*channel_, id, response, true); }

 private:
  class Sink;
  struct Open {
    std::shared_ptr<infer::Cancellation> cancellation;
    std::vector<Handle> parents;  // that still wait
    bool has_parents = false;
  };
  void answered(std::uint64_t id, infer::Response response, bool last);
  static void send(Channel& channel, std::uint64_t id, const infer::Response& response, bool last);

  const std::shared_ptr<Channel> channel_;
  const std::shared_ptr<Door> door_;
  mutable Guarded<std::map<std::uint64_t, Open>> open_;
};

}  // namespace argosy::worker
