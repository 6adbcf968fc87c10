#include "engine/execution.h"

#include "assemble/gather.h"
#include "assemble/scatter.h"
#include "engine/contained.h"
#include "engine/halving.h"

namespace argosy::engine {
namespace {

class Once {
 public:
  Once(const model::ModelSpec& spec, backend::Instance& instance, BytesPool& pool, const Clock& clock)
      : spec_(spec), instance_(instance), pool_(pool), clock_(clock) {}

  // Leaves one answer for each request if it is ok, but where the instance runs pieces.
  Status run(backend::Batch& batch, Executed& times) {
    const bool gathered = instance_.intake() == backend::Intake::gathered;
    Status status;
    if (gathered) {
      status = contained(spec_, [&] { return assemble::gather(spec_, pool_, batch); });
    } else {
      for (const auto& request : batch.requests) batch.rows += request->rows;
    }
    times.input_ready = times.output_ready = clock_.now();
    if (!status.ok()) return status;
    status = contained(spec_, [&] { return instance_.execute(batch); });
    times.output_ready = batch.output_ready == TimePoint{} ? clock_.now() : batch.output_ready;
    if (batch.input_ready != TimePoint{}) times.input_ready = batch.input_ready;
    if (!status.ok() || !gathered) return status;
    return contained(spec_, [&] { return assemble::scatter(spec_, batch); });
  }

 private:
  const model::ModelSpec& spec_;
  backend::Instance& instance_;
  BytesPool& pool_;
  const Clock& clock_;
};

}  // namespace

Executed execute(const model::ModelSpec& spec, backend::Instance& instance, BytesPool& pool, const Clock& clock,
                 backend::Batch& batch) {
  const std::size_t requests = batch.requests.size();
  Once once(spec, instance, pool, clock);
  Executed times;
  const Status status = once.run(batch, times);
  if (instance.intake() == backend::Intake::gathered && Halving::helps(status, requests)) {
    run_in_parts(batch, [&](backend::Batch& part) {
      Executed of_part;
      return once.run(part, of_part);
    });
    times.output_ready = clock.now();
  } else if (!status.ok()) {
    batch.answers.clear();
    for (std::size_t i = 0; i < requests; ++i) batch.answers.push_back({status, {}, {}});
  }
  while (batch.answers.size() < requests) {
    batch.answers.push_back(
        {internal_error("model '" + spec.name + "': its backend left a request without an answer"), {}, {}});
  }
  return times;
}

}  // namespace argosy::engine
