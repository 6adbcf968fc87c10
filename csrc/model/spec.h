#pragma once

// ModelSpec: everything the core knows about one version of one model, as an
// immutable value. Python parses, defaults and checks the configuration and lowers
// it to this, so that absent or contradictory states do not exist here.
//
// Thread: immutable after construction; shared freely.

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace argosy::model {

struct TensorSpec {
  std::string name;
  tensor::DType dtype = tensor::DType::fp32;
  tensor::Shape dims;                    // without the batch dimension; -1: open
  std::optional<tensor::Shape> reshape;  // what the backend sees instead of dims
  bool optional = false;
  bool ragged = false;
  std::vector<std::string> labels;         // outputs: classification labels by index
  std::optional<std::size_t> shaped_like;  // outputs: the input, never optional, that says which elements are whose

  const tensor::Shape& backend_dims() const { return reshape ? *reshape : dims; }
};

// A tensor about the batch itself, which the server makes and the model takes as an input.
struct BatchInput {
  enum class Kind : std::uint8_t {
    element_count,                        // [requests]
    accumulated_element_count,            // [requests]: sums up to and with each
    accumulated_element_count_with_zero,  // [requests + 1]: the same behind a 0
    max_element_count_as_shape,           // [the largest count]: its size is the message
    item_shape,                           // [rows, rank]
    item_shape_flatten,                   // [rows * rank]
  };
  std::string name;
  tensor::DType dtype = tensor::DType::int32;  // or fp32
  Kind kind = Kind::element_count;
  std::size_t source = 0;  // the input it is about, never optional
};

enum class TimeoutAction : std::uint8_t { reject, delay };

struct QueuePolicy {
  TimeoutAction timeout_action = TimeoutAction::reject;
  Micros default_timeout{0};  // 0: none
  bool allow_timeout_override = false;
  std::uint32_t max_queue_size = 0;  // 0: bounded by the server-wide byte limit only
};

struct Batching {
  std::vector<std::uint32_t> preferred_rows;  // ascending; each <= max_batch_rows
  Micros max_queue_delay{0};
  bool preserve_ordering = false;
  std::uint32_t priority_levels = 0;  // 0: no priorities
  std::uint32_t default_priority = 0;
  QueuePolicy default_policy;
  std::map<std::uint32_t, QueuePolicy> level_policies;
};

enum class InstanceKind : std::uint8_t { cpu, gpu, model };

struct InstanceGroup {
  std::string name;
  InstanceKind kind = InstanceKind::cpu;
  std::uint32_t count = 1;
  std::vector<int> gpus;
};

struct WarmupInput {
  std::string name;
  tensor::DType dtype = tensor::DType::fp32;
  tensor::Shape dims;
  enum class Source : std::uint8_t { zero, random, file } source = Source::zero;
  std::string file;  // whole path
};

struct WarmupSample {
  std::string name;
  std::uint32_t batch_rows = 1;
  std::uint32_t count = 1;
  std::vector<WarmupInput> inputs;
};

struct ModelSpec {
  std::string name;
  std::int64_t version = 1;
  std::string platform;
  std::string backend;
  std::string path;                  // the version's directory
  std::string artifact;              // file name in it
  std::uint32_t max_batch_rows = 0;  // 0: the model has no batch dimension
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  std::vector<BatchInput> batch_inputs;  // only with a batch dimension
  bool decoupled = false;
  std::optional<Batching> batching;  // nothing: one request at a time, first come first served
  std::vector<InstanceGroup> instances;
  std::map<std::string, std::string> parameters;
  std::map<std::string, std::string> metric_tags;
  std::vector<WarmupSample> warmup;
  std::string config_json;  // the normalised configuration as JSON, for backends that read more of it

  bool batches() const { return max_batch_rows > 0; }
};
using SpecPtr = std::shared_ptr<const ModelSpec>;

}  // namespace argosy::model
