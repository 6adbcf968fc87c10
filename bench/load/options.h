#pragma once

// Options of argosy-load: flags into one checked value.
//
// Thread: values; any.

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "load/exchange.h"
#include "load/measurement.h"
#include "load/samples.h"

namespace argosy::load {

// Where tensors lie, instead of in the messages.
enum class SharedMemory { none, system, cuda };
std::string_view to_string(SharedMemory where);

struct Options {
  bool help = false;
  Format format = Format::grpc;
  std::string host = "127.0.0.1";
  std::string port;
  Target target;
  std::vector<Load> loads;        // never empty
  std::uint32_t connections = 0;  // 0: one for gRPC, one for each request in flight for HTTP
  std::uint32_t streams = 0;      // 0: concurrency divided by connections
  bool poisson = true;
  MeasureRules rules;
  SampleRules samples;
  std::string input_file;       // empty: generated
  std::string expect = "none";  // "none", "echo", or a file with the first output's bytes
  SharedMemory shared_memory = SharedMemory::none;
  std::string cuda_device = "0";  // of SharedMemory::cuda: a GPU's number, or "host"
  std::size_t shared_output_bytes = 102'400;
  std::string server_pid = "auto";
  bool statistics = true;
  std::string label;
};

Result<Options> parse_options(std::span<const char* const> arguments);
std::string help_text();

// "8", "1,2,4", "1:16" (every one) or "1:16:5".
Result<std::vector<double>> parse_levels(std::string_view text);

}  // namespace argosy::load
