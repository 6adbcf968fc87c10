#include "engine/execution.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "assemble/gather.h"
#include "assemble/scatter.h"
#include "engine/contained.h"

namespace argosy::engine {
namespace {

// Whether it may be one request's fault: what lacks memory, or is going away, is not.
bool blames_input(const Status& status) {
  return status.code() == StatusCode::invalid_argument || status.code() == StatusCode::internal;
}

// The same requests again, in two batches: one's bad values must not fail the others.
void execute_halves(const model::ModelSpec& spec, backend::Instance& instance, BytesPool& pool, const Clock& clock,
                    backend::Batch& batch) {
  std::vector<infer::RequestPtr> all = std::exchange(batch.requests, {});
  batch.answers.clear();
  const auto middle = all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2);
  for (const auto& [from, to] : {std::pair(all.begin(), middle), std::pair(middle, all.end())}) {
    backend::Batch half;
    half.requests.assign(std::move_iterator(from), std::move_iterator(to));
    execute(spec, instance, pool, clock, half);
    std::ranges::move(half.requests, std::back_inserter(batch.requests));
    std::ranges::move(half.answers, std::back_inserter(batch.answers));
  }
}

}  // namespace

Executed execute(const model::ModelSpec& spec, backend::Instance& instance, BytesPool& pool, const Clock& clock,
                 backend::Batch& batch) {
  const bool gathered = instance.intake() == backend::Intake::gathered;
  const std::size_t requests = batch.requests.size();
  Status status;
  if (gathered) {
    status = contained(spec, [&] { return assemble::gather(spec, pool, batch); });
  } else {
    for (const auto& request : batch.requests) batch.rows += request->rows;
  }

  Executed times{clock.now(), {}};
  if (status.ok()) {
    status = contained(spec, [&] { return instance.execute(batch); });
    times.output_ready = batch.output_ready == TimePoint{} ? clock.now() : batch.output_ready;
    if (batch.input_ready != TimePoint{}) times.input_ready = batch.input_ready;
  } else {
    times.output_ready = times.input_ready;
  }

  if (status.ok() && gathered) status = contained(spec, [&] { return assemble::scatter(spec, batch); });
  if (gathered && requests > 1 && blames_input(status)) {
    execute_halves(spec, instance, pool, clock, batch);
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
