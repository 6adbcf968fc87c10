#pragma once

// One measurement as one line of JSON. docs: bench/README.md lists the fields.
//
// Thread: pure; any.

#include <string>

#include "load/measurement.h"
#include "load/options.h"

namespace argosy::load {

std::string json_line(const Options& options, const Measured& measured, const Machine& machine);

}  // namespace argosy::load
