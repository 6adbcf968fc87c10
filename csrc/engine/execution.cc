#include "engine/execution.h"

#include <algorithm>
#include <exception>
#include <new>

#include "assemble/gather.h"
#include "assemble/scatter.h"

namespace argosy::engine {
namespace {

// A backend, and what it calls, is not ours: what it throws stops here.
template <class Step>
Status contained(const model::ModelSpec& spec, Step step) {
  try {
    return step();
  } catch (const std::bad_alloc&) {
    return resource_exhausted("model '" + spec.name + "': out of memory for this batch");
  } catch (const std::exception& error) {
    return internal_error("model '" + spec.name + "': " + error.what());
  } catch (...) {
    return internal_error("model '" + spec.name + "': unknown exception");
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
  if (!status.ok()) {
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
