#pragma once

// contained: a step of somebody else's code whose exceptions stop here and become the
// batch's failure.
//
// Thread: pure; any.

#include <exception>
#include <new>

#include "base/status.h"
#include "model/spec.h"

namespace argosy::engine {

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

}  // namespace argosy::engine
