#include "engine/warmup.h"

#include <algorithm>
#include <condition_variable>
#include <fstream>
#include <random>
#include <string>

#include "base/guarded.h"
#include "model/check_request.h"
#include "tensor/strings.h"

namespace argosy::engine {
namespace {

// What the warm-up requests of one batch came to; shared with their sinks, because an
// instance may answer after execute() returned.
struct Outcome {
  struct State {
    std::size_t open = 0;
    Status first_failure;
  };
  Guarded<State> state;
  std::condition_variable changed;
};

class OutcomeSink final : public infer::ReplySink {
 public:
  explicit OutcomeSink(std::shared_ptr<Outcome> outcome) : outcome_(std::move(outcome)) {}
  void send(infer::Response response, bool last) override {
    auto state = outcome_->state.lock();
    if (!response.status.ok() && state->first_failure.ok()) state->first_failure = std::move(response.status);
    if (!last) return;
    --state->open;
    outcome_->changed.notify_all();
  }

 private:
  std::shared_ptr<Outcome> outcome_;
};

Result<std::string> file_data(const model::WarmupInput& input, std::size_t expected) {
  std::ifstream file(input.file, std::ios::binary);
  if (!file) return invalid_argument("cannot open warmup file '" + input.file + "' for input '" + input.name + "'");
  std::string data((std::istreambuf_iterator<char>(file)), {});
  if (input.dtype == tensor::DType::bytes) return data;
  if (data.size() < expected) {
    return invalid_argument("warmup setting expects " + std::to_string(expected) +
                            " bytes, but the data provided from " + input.file + " only has " +
                            std::to_string(data.size()) + " bytes");
  }
  data.resize(expected);
  return data;
}

// Whole random bytes would be NaN or denormal for some types: small whole numbers fit all.
std::string random_data(tensor::DType dtype, std::size_t elements) {
  std::mt19937 random(17);  // the same at each start
  std::string data;
  const std::size_t size = tensor::element_size(dtype);
  for (std::size_t i = 0; i < elements; ++i) {
    const auto append = [&](auto value) { data.append(reinterpret_cast<const char*>(&value), sizeof value); };
    const int value = static_cast<int>(random() % 2);
    if (dtype == tensor::DType::fp32) {
      append(static_cast<float>(random() % 1000) / 1000.0f);
    } else if (dtype == tensor::DType::fp64) {
      append(static_cast<double>(random() % 1000) / 1000.0);
    } else if (dtype == tensor::DType::fp16) {
      append(static_cast<std::uint16_t>(value ? 0x3c00 : 0));
    } else if (dtype == tensor::DType::bf16) {
      append(static_cast<std::uint16_t>(value ? 0x3f80 : 0));
    } else {
      data.push_back(static_cast<char>(value));
      data.append(size - 1, '\0');
    }
  }
  return data;
}

Result<tensor::Tensor> tensor_of(const model::ModelSpec& spec, const model::WarmupInput& input) {
  const auto elements = input.dims.element_count();
  if (!elements) {
    return invalid_argument("warmup setting expects all variable-size dimensions are specified for input '" +
                            input.name + "'");
  }
  const auto count = static_cast<std::size_t>(*elements);
  const bool strings = input.dtype == tensor::DType::bytes;
  // A string's zero value is the empty string: four zero bytes.
  const std::size_t each = strings ? 4 : tensor::element_size(input.dtype);
  if (count > (std::size_t{1} << 40) / each) {
    return invalid_argument("warmup input '" + input.name + "' of " + std::to_string(count) + " elements is too large");
  }
  std::string data;
  if (input.source == model::WarmupInput::Source::file) {
    auto read = file_data(input, count * each);
    if (!read.ok()) return read.status();
    data = std::move(*read);
  } else if (input.source == model::WarmupInput::Source::random && !strings) {
    data = random_data(input.dtype, count);
  } else {
    data.assign(count * each, '\0');
  }
  tensor::Tensor tensor{.name = input.name, .dtype = input.dtype};
  if (spec.batches()) tensor.shape.push_back(1);
  for (const auto dim : input.dims) tensor.shape.push_back(dim);
  tensor.data = device::Memory(Bytes::take(std::move(data)));
  return tensor;
}

Status run_sample(const model::ModelSpec& spec, const model::WarmupSample& sample, const RunBatch& run) {
  std::vector<tensor::Tensor> inputs;
  for (const auto& input : sample.inputs) {
    auto tensor = tensor_of(spec, input);
    if (!tensor.ok()) return tensor.status();
    inputs.push_back(std::move(*tensor));
  }
  auto outcome = std::make_shared<Outcome>();
  backend::Batch batch;
  // A model that does not batch runs each request alone.
  const std::uint32_t requests = spec.batches() ? sample.batch_rows : std::min(1u, sample.batch_rows);
  for (std::uint32_t row = 0; row < requests; ++row) {
    auto request = std::make_unique<infer::Request>();
    request->id = "warmup";
    request->inputs = inputs;
    Status status = model::check_request(spec, *request);
    if (!status.ok()) return status;
    ++outcome->state.lock()->open;
    request->reply.wrap([&](auto) { return std::make_unique<OutcomeSink>(outcome); });
    batch.requests.push_back(std::move(request));
  }
  if (batch.requests.empty()) return {};
  run(batch);
  for (std::size_t i = 0; i < batch.requests.size(); ++i) {
    if (batch.requests[i]) std::move(batch.requests[i]->reply).finish(std::move(batch.answers[i]));
  }
  auto state = outcome->state.lock();
  while (state->open > 0) state.wait(outcome->changed);
  return state->first_failure;
}

}  // namespace

Status warm_up(const model::ModelSpec& spec, const RunBatch& run) {
  for (const auto& sample : spec.warmup) {
    for (std::uint32_t turn = 0; turn < std::max(1u, sample.count); ++turn) {
      const Status status = run_sample(spec, sample, run);
      if (!status.ok()) {
        return {status.code(), "failed to run warmup sample '" + sample.name + "': " + status.message()};
      }
    }
  }
  return {};
}

}  // namespace argosy::engine
