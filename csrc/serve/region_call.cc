#include "serve/region_call.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "shm/courier.h"

namespace argosy::serve {
namespace {

Status too_small(const kserve::OutputInRegion& output, std::size_t needed) {
  return internal_error("shared memory size specified with the request for output '" + output.name + "' (" +
                        std::to_string(output.slice.size) + " bytes) should be at least " + std::to_string(needed) +
                        " bytes to hold the results");
}

// What the answers of one request need; jobs share it with the sink.
struct Call {
  kserve::RegionUsePtr use;
  std::unique_ptr<infer::ReplySink> next;

  Status untorn() const {
    for (const auto& region : use->inputs) {
      if (auto status = region->untorn(); !status.ok()) return status;
    }
    for (const auto& output : use->outputs) {
      if (auto status = output.slice.region->untorn(); !status.ok()) return status;
    }
    return {};
  }

  Status write(tensor::Tensor& output, shm::DeviceCopies& copies) const {
    const auto wanted = std::find_if(use->outputs.begin(), use->outputs.end(),
                                     [&](const auto& one) { return one.name == output.name; });
    if (wanted == use->outputs.end()) return {};
    if (output.data.size() > wanted->slice.size) return too_small(*wanted, output.data.size());
    const shm::Region& region = *wanted->slice.region;
    Status copied =
        copies.copy({wanted->slice.data, region.place(), wanted->slice.region}, output.data, region.device());
    if (!copied.ok()) return {copied.code(), "output '" + output.name + "': " + copied.message()};
    output.data = {};
    return {};
  }

  void send(infer::Response response, bool last, shm::DeviceCopies& copies) const {
    for (tensor::Tensor& output : response.outputs) {
      if (!response.status.ok()) break;
      response.status = write(output, copies);
    }
    if (response.status.ok()) response.status = untorn();
    if (!response.status.ok()) response.outputs.clear();
    next->send(std::move(response), last);
  }
};

struct SendJob final : shm::Courier::Job {
  SendJob(std::shared_ptr<const Call> whose, infer::Response what, bool is_last)
      : call(std::move(whose)), response(std::move(what)), last(is_last) {}
  void run(shm::DeviceCopies& copies) override { call->send(std::move(response), last, copies); }

  const std::shared_ptr<const Call> call;
  infer::Response response;
  const bool last;
};

class RegionSink final : public infer::ReplySink {
 public:
  // `courier` is null when no output goes to a GPU.
  RegionSink(std::shared_ptr<const Call> call, std::shared_ptr<shm::Courier> courier)
      : call_(std::move(call)), courier_(std::move(courier)) {}

  void send(infer::Response response, bool last) override {
    if (courier_) return courier_->post(std::make_unique<SendJob>(call_, std::move(response), last));
    shm::DeviceCopies none;
    call_->send(std::move(response), last, none);
  }

 private:
  const std::shared_ptr<const Call> call_;
  const std::shared_ptr<shm::Courier> courier_;
};

// Whether a model that takes inputs on `there`, and on the host, cannot read this one.
bool lies_elsewhere(const tensor::Tensor& input, const std::optional<device::Place>& there) {
  return !input.data.on_host() && there != input.data.place();
}

// Brings the inputs that the model cannot read to the host, then submits the request.
struct FetchJob final : shm::Courier::Job {
  FetchJob(engine::Engine& to, engine::ModelHandle what, infer::RequestPtr r,
           std::vector<std::shared_ptr<const shm::Region>> whose)
      : engine(to), model(std::move(what)), request(std::move(r)), regions(std::move(whose)) {}

  void run(shm::DeviceCopies& copies) override {
    const auto there = engine::takes_inputs_on(model);
    for (tensor::Tensor& input : request->inputs) {
      if (!lies_elsewhere(input, there)) continue;
      if (auto status = fetch(input, copies); !status.ok()) {
        return std::move(request->reply)
            .finish({{status.code(), "input '" + input.name + "': " + status.message()}, {}, {}});
      }
    }
    engine.submit(model, std::move(request));
  }

  Status fetch(tensor::Tensor& input, shm::DeviceCopies& copies) {
    const auto region =
        std::find_if(regions.begin(), regions.end(), [&](const auto& one) { return one == input.data.owner(); });
    if (region == regions.end()) return internal_error("its memory is of no region of the request");
    Buffer copy = default_pool().allocate(input.data.size());
    if (!copy) return resource_exhausted("no memory for " + std::to_string(input.data.size()) + " bytes");
    if (auto s = copies.copy({copy.data(), {}}, input.data, (*region)->device()); !s.ok()) return s;
    request->bytes += input.data.size();
    input.data = std::move(copy).freeze(input.data.size());
    return {};
  }

  engine::Engine& engine;
  const engine::ModelHandle model;
  infer::RequestPtr request;
  const std::vector<std::shared_ptr<const shm::Region>> regions;
};

}  // namespace

void submit_with_regions(Services& services, const engine::ModelHandle& model, infer::RequestPtr request,
                         kserve::RegionUsePtr use) {
  const bool to_gpu = use->outputs_on_gpu();
  std::vector<std::shared_ptr<const shm::Region>> inputs = use->inputs;
  request->reply.wrap([&](std::unique_ptr<infer::ReplySink> next) -> std::unique_ptr<infer::ReplySink> {
    auto call = std::make_shared<const Call>(Call{std::move(use), std::move(next)});
    return std::make_unique<RegionSink>(std::move(call), to_gpu ? services.courier : nullptr);
  });
  const bool fetch = std::any_of(
      request->inputs.begin(), request->inputs.end(),
      [there = engine::takes_inputs_on(model)](const tensor::Tensor& input) { return lies_elsewhere(input, there); });
  if (!fetch) return services.engine.submit(model, std::move(request), services.wakes);
  services.courier->post(std::make_unique<FetchJob>(services.engine, model, std::move(request), std::move(inputs)));
}

}  // namespace argosy::serve
