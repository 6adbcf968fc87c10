// argosy-sim: compares batching settings under virtual time. Runs no batching, the
// default, and a grid of fixed settings, and prints one JSON line for each.
//
//   argosy-sim arrivals=closed concurrency=64 instances=1 batch_us=40 row_us=20
//   argosy-sim arrivals=poisson rate=20000 | arrivals=bursty rate=20000 burst=32
//   argosy-sim arrivals=file path=moments.txt
//   argosy-sim depth=3 assemble_us=30   on a device, with batches under way

#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

#include "arrivals.h"
#include "simulation.h"

namespace {

using namespace argosy;

std::map<std::string, std::string> settings{
    {"arrivals", "closed"}, {"concurrency", "64"}, {"rate", "20000"},     {"burst", "32"},    {"path", ""},
    {"requests", "50000"},  {"seed", "1"},         {"cores", "2"},        {"instances", "1"}, {"batch_us", "40"},
    {"row_us", "20"},       {"in_us", "6"},        {"out_us", "4"},       {"client_us", "0"}, {"wake_us", "20"},
    {"max_rows", "64"},     {"depth", "0"},        {"assemble_us", "20"},
};

double number(const char* name) { return std::strtod(settings[name].c_str(), nullptr); }

void report(const char* setting, const model::ModelSpec& spec, const sim::Machine& machine, const sim::Load& load) {
  const auto out = sim::simulate(spec, machine, load);
  const auto& batching = spec.batching;
  std::printf(
      "{\"setting\": \"%s\", \"delay_us\": %lld, \"preferred_rows\": %u, \"arrivals\": \"%s\", "
      "\"instances\": %zu, \"cores\": %g, \"per_second\": %.0f, \"p50_us\": %.0f, \"p99_us\": %.0f, "
      "\"mean_batch\": %.2f, \"batches\": %zu, \"answered\": %zu}\n",
      setting, batching ? static_cast<long long>(batching->max_queue_delay.count()) : 0LL,
      batching && !batching->preferred_rows.empty() ? batching->preferred_rows.back() : 0u,
      settings["arrivals"].c_str(), machine.instances, machine.cores, out.per_second, out.p50_us, out.p99_us,
      out.mean_batch, out.batches, out.answered);
}

}  // namespace

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const auto equals = argument.find('=');
    if (equals == std::string::npos || !settings.contains(argument.substr(0, equals))) {
      std::fprintf(stderr, "argosy-sim: unknown setting '%s', expected name=value with one of:", argv[i]);
      for (const auto& [name, value] : settings) std::fprintf(stderr, " %s", name.c_str());
      std::fprintf(stderr, "\n");
      return 2;
    }
    settings[argument.substr(0, equals)] = argument.substr(equals + 1);
  }
  const sim::Machine machine{.cores = number("cores"),
                             .instances = static_cast<std::size_t>(number("instances")),
                             .batch_us = number("batch_us"),
                             .row_us = number("row_us"),
                             .in_us = number("in_us"),
                             .out_us = number("out_us"),
                             .client_us = number("client_us"),
                             .wake_us = number("wake_us"),
                             .depth = static_cast<std::size_t>(number("depth")),
                             .assemble_us = number("assemble_us")};
  sim::Load load{.concurrency = static_cast<std::size_t>(number("concurrency")),
                 .requests = static_cast<std::size_t>(number("requests"))};
  const auto seed = static_cast<unsigned>(number("seed"));
  const std::string& arrivals = settings["arrivals"];
  if (arrivals == "poisson") load.moments = sim::poisson(number("rate"), load.requests, seed);
  if (arrivals == "bursty") {
    load.moments = sim::bursty(number("rate"), static_cast<std::size_t>(number("burst")), load.requests, seed);
  }
  if (arrivals == "file") load.moments = sim::replayed(settings["path"]);
  if ((arrivals != "closed" && load.moments.empty()) || machine.instances == 0 || machine.cores <= 0) {
    std::fprintf(stderr,
                 "argosy-sim: no arrivals from '%s', or no instances or cores; expected arrivals=closed, "
                 "poisson, bursty, or file with a readable path\n",
                 arrivals.c_str());
    return 2;
  }

  model::ModelSpec spec;
  spec.name = "m";
  spec.max_batch_rows = static_cast<std::uint32_t>(number("max_rows"));
  report("none", spec, machine, load);
  spec.batching.emplace();
  report("default", spec, machine, load);
  for (const std::uint32_t preferred : {8u, 16u, 32u, 64u}) {
    if (preferred > spec.max_batch_rows) continue;
    for (const int delay_us : {0, 50, 100, 200, 500, 1000, 2000}) {
      spec.batching = model::Batching{.preferred_rows = {preferred}, .max_queue_delay = Micros(delay_us)};
      report("fixed", spec, machine, load);
    }
  }
}
