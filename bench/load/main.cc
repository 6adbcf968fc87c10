// argosy-load: the program around measure(). Reads the model's metadata, prepares the
// requests, measures each load in turn and prints one JSON line for each. SIGINT, SIGTERM
// and SIGHUP end the running measurement, which prints what it has; shared memory is
// unregistered on every way out.

#include <csignal>
#include <cstdio>
#include <fstream>
#include <iterator>

#include "load/gpu_tensors.h"
#include "load/measurement.h"
#include "load/options.h"
#include "load/report.h"
#include "load/shared_tensors.h"

namespace argosy::load {
namespace {

constexpr std::uint32_t kOpenLoopSlots = 64;

// The only state a signal handler can reach.
std::atomic<bool> interrupted{false};

Result<std::string> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return not_found("cannot read '" + path + "'");
  return std::string(std::istreambuf_iterator<char>(file), {});
}

Result<std::vector<Sample>> make_samples(const Options& options, const ModelCard& card) {
  std::vector<Sample> samples;
  if (options.input_file.empty()) {
    auto sample = generate_sample(card, options.samples);
    if (!sample.ok()) return sample.status();
    samples.push_back(std::move(*sample));
  } else {
    auto text = read_file(options.input_file);
    if (!text.ok()) return text.status();
    auto from_file = samples_from_file(card, options.samples, *text);
    if (!from_file.ok()) return from_file;
    samples = std::move(*from_file);
  }
  if (options.expect == "none") return samples;
  std::string expected;
  if (options.expect != "echo") {
    auto bytes = read_file(options.expect);
    if (!bytes.ok()) return bytes.status();
    expected = std::move(*bytes);
  }
  for (Sample& sample : samples) sample.expected = options.expect == "echo" ? sample.inputs[0].bytes : expected;
  return samples;
}

void place(SendPlan& plan, const Options& options, const Load& load) {
  const bool grpc = options.format == Format::grpc;
  if (load.rate > 0) {
    plan.connections = options.connections != 0 ? options.connections : grpc ? 1 : kOpenLoopSlots;
    plan.streams = !grpc ? 1 : options.streams != 0 ? options.streams : kOpenLoopSlots;
    return;
  }
  const std::uint32_t by_streams =
      options.streams != 0 ? (load.concurrency + options.streams - 1) / options.streams : 1;
  const std::uint32_t asked = !grpc ? load.concurrency : options.connections != 0 ? options.connections : by_streams;
  plan.connections = std::min(asked, load.concurrency);
  plan.streams = grpc ? (load.concurrency + plan.connections - 1) / plan.connections : 1;
}

std::optional<pid_t> find_server(const Options& options, const Address& address) {
  if (options.server_pid == "none") return std::nullopt;
  if (options.server_pid != "auto") return static_cast<pid_t>(std::atoi(options.server_pid.c_str()));
  const auto* v4 = reinterpret_cast<const std::uint8_t*>(&address.storage) + 4;
  const bool local =
      options.host == "localhost" || options.host == "::1" || (address.storage.ss_family == AF_INET && v4[0] == 127);
  if (!local) return std::nullopt;
  return listener_of_port(static_cast<std::uint16_t>(std::atoi(options.port.c_str())));
}

Status measure_all(const Options& options, SendPlan& plan, ControlClient& control, const Address& address) {
  const auto server = find_server(options, address);
  const bool has_statistics = options.statistics && control.statistics().ok();
  const Machine machine = this_machine();
  for (const Load& load : options.loads) {
    place(plan, options, load);
    const Measured measured =
        measure(plan, load, options.rules, has_statistics ? &control : nullptr, server, interrupted);
    std::printf("%s\n", json_line(options, measured, machine).c_str());
    std::fflush(stdout);
    if (interrupted) return cancelled("interrupted");
  }
  return {};
}

// Null where the messages carry the tensors. `gpu` is null unless they lie on one.
Result<std::unique_ptr<SharedTensors>> share(const Options& options, device::DevicePtr gpu,
                                             const std::vector<Sample>& samples, const ModelCard& card) {
  switch (options.shared_memory) {
    case SharedMemory::none: break;
    case SharedMemory::system: return system_tensors(samples, card, options.shared_output_bytes);
    case SharedMemory::cuda: return gpu_tensors(std::move(gpu), samples, card, options.shared_output_bytes);
  }
  return std::unique_ptr<SharedTensors>();
}

Status run(const Options& options) {
  device::DevicePtr gpu;
  if (options.shared_memory == SharedMemory::cuda) {
    auto found = find_gpu(options.cuda_device);
    if (!found.ok()) return found.status();
    gpu = *std::move(found);
  }
  auto address = resolve(options.host, options.port);
  if (!address.ok()) return address.status();
  const bool grpc = options.format == Format::grpc;
  ControlClient control(grpc, options.target, *address);
  auto card = control.model_card();
  if (!card.ok())
    return {card.status().code(),
            "model '" + options.target.model + "' at " + options.target.authority + ": " + card.status().message()};
  auto samples = make_samples(options, *card);
  if (!samples.ok()) return samples.status();

  SendPlan plan;
  plan.format = options.format;
  plan.authority = options.target.authority;
  plan.address = *address;
  plan.poisson = options.poisson;
  plan.seed = options.samples.seed;
  const auto made = share(options, std::move(gpu), *samples, *card);
  if (!made.ok()) return made.status();
  const SharedTensors* const shared = made->get();
  plan.shared = shared;
  for (std::size_t i = 0; i < samples->size(); ++i) {
    const Sample& sample = (*samples)[i];
    const SharedRequest* places = shared != nullptr ? &shared->requests()[i] : nullptr;
    plan.exchanges.push_back(infer_exchange(options.format, options.target, sample, places));
    plan.expected.push_back(sample.expected);
  }
  if (shared == nullptr) return measure_all(options, plan, control, *address);
  Registration registration(control, grpc, options.target, shared->object());
  if (auto status = registration.begin(); !status.ok()) return status;
  const Status measured = measure_all(options, plan, control, *address);
  const Status ended = registration.end();
  return measured.ok() ? ended : measured;
}

int main_of(int count, char** arguments) {
  const auto options = parse_options({arguments + 1, static_cast<std::size_t>(count - 1)});
  if (!options.ok()) {
    std::fprintf(stderr, "argosy-load: %s\n", options.status().message().c_str());
    return 2;
  }
  if (options->help) {
    std::fputs(help_text().c_str(), stdout);
    return 0;
  }
  std::signal(SIGPIPE, SIG_IGN);
  const auto on_signal = [](int) { interrupted = true; };
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
  if (std::signal(SIGHUP, SIG_IGN) != SIG_IGN) std::signal(SIGHUP, on_signal);  // unless nohup wants it ignored
  // Whoever starts us may have held these back until there is somebody to pass them on to.
  sigset_t ours;
  sigemptyset(&ours);
  sigaddset(&ours, SIGINT);
  sigaddset(&ours, SIGTERM);
  sigprocmask(SIG_UNBLOCK, &ours, nullptr);
  const Status status = run(*options);
  if (status.ok()) return 0;
  std::fprintf(stderr, "argosy-load: %s\n", status.message().c_str());
  return 1;
}

}  // namespace
}  // namespace argosy::load

int main(int count, char** arguments) { return argosy::load::main_of(count, arguments); }
