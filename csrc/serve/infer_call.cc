#include "serve/infer_call.h"

#include <utility>

#include "serve/region_call.h"

namespace argosy::serve {
namespace {

// Counts a request as running until its last response has reached its connection, or
// can reach nobody any more.
class Running {
 public:
  explicit Running(std::shared_ptr<std::atomic<std::size_t>> count) : count_(std::move(count)) {
    count_->fetch_add(1, std::memory_order_relaxed);
  }
  Running(Running&&) noexcept = default;
  Running& operator=(Running&&) = delete;
  ~Running() {
    if (count_) count_->fetch_sub(1, std::memory_order_release);
  }

 private:
  std::shared_ptr<std::atomic<std::size_t>> count_;
};

struct Delivery final : net::Posted {
  Delivery(std::shared_ptr<InferCaller> who, infer::Response what, bool is_last)
      : caller(std::move(who)), response(std::move(what)), last(is_last) {}
  void run(const net::IoToken& io) override { caller->on_response(io, std::move(response), last); }

  std::shared_ptr<InferCaller> caller;
  infer::Response response;
  bool last;
};

struct LastDelivery final : net::Posted {
  LastDelivery(std::shared_ptr<InferCaller> who, infer::Response what, Running r)
      : running(std::move(r)), caller(std::move(who)), response(std::move(what)) {}
  void run(const net::IoToken& io) override { caller->on_response(io, std::move(response), true); }

  Running running;
  std::shared_ptr<InferCaller> caller;
  infer::Response response;
};

class LoopSink final : public infer::ReplySink {
 public:
  LoopSink(std::shared_ptr<net::Mailbox> mailbox, std::shared_ptr<InferCaller> caller, Running running)
      : mailbox_(std::move(mailbox)), caller_(std::move(caller)), running_(std::move(running)) {}

  void send(infer::Response response, bool last) override {
    if (last) {
      mailbox_->post(std::make_unique<LastDelivery>(std::move(caller_), std::move(response), std::move(running_)));
    } else {
      mailbox_->post(std::make_unique<Delivery>(caller_, std::move(response), false));
    }
  }

 private:
  const std::shared_ptr<net::Mailbox> mailbox_;  // the loop may end before the model does
  std::shared_ptr<InferCaller> caller_;
  Running running_;
};

}  // namespace

void submit(Services& services, const std::shared_ptr<net::Mailbox>& mailbox, const engine::ModelHandle& model,
            infer::RequestPtr request, std::shared_ptr<InferCaller> caller, kserve::RegionUsePtr regions) {
  // wrap() and not assignment: a Reply cannot be replaced, only its sink.
  request->reply.wrap([&](std::unique_ptr<infer::ReplySink>) -> std::unique_ptr<infer::ReplySink> {
    return std::make_unique<LoopSink>(mailbox, std::move(caller), Running(services.running));
  });
  if (regions) return submit_with_regions(services, model, std::move(request), std::move(regions));
  services.engine.submit(model, std::move(request), services.wakes);
}

}  // namespace argosy::serve
