#include "load/options.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace argosy::load {
namespace {

constexpr std::size_t kMostLevels = 1000;
constexpr double kMostInFlight = 100'000;

struct Flag {
  std::string_view name;
  std::string_view value;  // empty: a switch
  std::string_view text;
};

constexpr Flag kFlags[] = {
    {"-m", "NAME", "model (required)"},
    {"-x", "VERSION", "model version [the server's choice]"},
    {"-u", "HOST:PORT", "server [127.0.0.1:8000 for http, 127.0.0.1:8001 for grpc]"},
    {"-i", "http|grpc", "protocol [grpc]"},
    {"--format", "json|binary", "tensors over HTTP [binary]"},
    {"--concurrency", "LEVELS", "closed loop: requests in flight; 8, 1,2,4 or 1:16:5 [1]"},
    {"--request-rate", "LEVELS", "open loop: requests a second, instead of --concurrency"},
    {"--arrivals", "poisson|constant", "gaps of the open loop [poisson]"},
    {"--connections", "N", "[grpc 1; http: one for each request in flight; open loop 64]"},
    {"--streams", "N", "gRPC: requests in flight on one connection [concurrency / connections; open loop 64]"},
    {"--threads", "N", "sending threads [1]"},
    {"-b", "N", "batch size of one request [1]"},
    {"--shape", "INPUT:D,D", "sizes of dynamic dimensions, without the batch dimension; repeatable"},
    {"--input-data", "random|zero|FILE", "perf_analyzer's JSON where a file [random]"},
    {"--string-length", "N", "of random BYTES elements [16]"},
    {"--shared-memory", "none|system|cuda", "where tensors lie, instead of in the messages [none]"},
    {"--cuda-device", "N|host",
     "the GPU of --shared-memory cuda; host: the processor stands for it, as in the server [0]"},
    {"--output-shared-memory-size", "BYTES", "room for each output there [102400]"},
    {"--expect", "none|echo|FILE", "compare each first output: with the first input, or with a file's bytes [none]"},
    {"--warm-up", "MS", "[1000]"},
    {"--window", "MS", "length of a window [1000]"},
    {"--windows", "N", "windows that must agree, and are reported [3]"},
    {"--max-windows", "N", "stop here even when not stable [10]"},
    {"--stability", "PERCENT", "largest distance of a window from their mean [10]"},
    {"--percentile", "P", "the latency that must be stable [50]"},
    {"--count", "N", "send exactly N requests instead of measuring windows"},
    {"--limit", "MS", "longest time a --count may take [60000]"},
    {"--server-pid", "auto|none|PID", "process tree whose CPU is counted [auto: who listens on the port, if local]"},
    {"--no-statistics", "", "do not ask for the statistics extension"},
    {"--seed", "N", "of data and arrivals [1]"},
    {"--label", "TEXT", "copied into the results"},
    {"--help", "", "this text"},
};

Status bad(std::string_view flag, std::string_view value, std::string_view expected) {
  return invalid_argument(std::string(flag) + ": '" + std::string(value) + "' is not " + std::string(expected));
}

bool parse_number(std::string_view text, double& to) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), to);
  return error == std::errc() && end == text.data() + text.size() && std::isfinite(to);
}

Status read_number(std::string_view flag, std::string_view text, double lowest, double highest, double& to) {
  if (parse_number(text, to) && to >= lowest && to <= highest) return {};
  return bad(flag, text,
             "a number from " + std::to_string(static_cast<long long>(lowest)) + " to " +
                 std::to_string(static_cast<long long>(highest)));
}

template <class T>
Status read_whole(std::string_view flag, std::string_view text, double lowest, double highest, T& to) {
  double number = 0;
  if (auto status = read_number(flag, text, lowest, highest, number); !status.ok()) return status;
  if (number != std::floor(number)) return bad(flag, text, "a whole number");
  to = static_cast<T>(number);
  return {};
}

Status read_ms(std::string_view flag, std::string_view text, double lowest, Nanos& to) {
  double number = 0;
  if (auto status = read_number(flag, text, lowest, 86'400'000, number); !status.ok()) return status;
  to = Nanos(static_cast<std::int64_t>(number * 1e6));
  return {};
}

Status read_choice(std::string_view flag, std::string_view text, std::string_view first, std::string_view second,
                   bool& is_first) {
  if (text != first && text != second) return bad(flag, text, std::string(first) + " or " + std::string(second));
  is_first = text == first;
  return {};
}

Status read_shared_memory(std::string_view text, SharedMemory& to) {
  for (const SharedMemory one : {SharedMemory::none, SharedMemory::system, SharedMemory::cuda}) {
    if (text == to_string(one)) return to = one, Status();
  }
  return bad("--shared-memory", text, "none, system or cuda");
}

Status read_shape(std::string_view text, SampleRules& rules) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return bad("--shape", text, "of the form INPUT:D,D");
  std::vector<std::int64_t>& shape = rules.shapes[std::string(text.substr(0, colon))];
  shape.clear();
  for (std::string_view rest = text.substr(colon + 1);;) {
    const auto comma = rest.find(',');
    std::int64_t dim = 0;
    if (auto status = read_whole("--shape", rest.substr(0, comma), 0, 2147483647, dim); !status.ok()) return status;
    shape.push_back(dim);
    if (comma == std::string_view::npos) return {};
    rest.remove_prefix(comma + 1);
  }
}

Status read_url(std::string_view text, Options& to) {
  if (text.starts_with("https://")) return unsupported("-u: TLS is not served by the load generator; use a plain port");
  if (text.starts_with("http://")) text.remove_prefix(7);
  while (text.ends_with('/')) text.remove_suffix(1);
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return bad("-u", text, "of the form HOST:PORT");
  std::uint16_t port = 0;
  if (auto status = read_whole("-u", text.substr(colon + 1), 1, 65535, port); !status.ok()) return status;
  std::string_view host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  to.host = host;
  to.port = std::to_string(port);
  return {};
}

// What the flags hold until all are known.
struct Raw {
  bool grpc = true;
  bool json = false;
  std::string concurrency;
  std::string rate;
};

Status read_flag(std::string_view flag, std::string_view v, Options& to, Raw& raw) {
  if (flag == "-m") return to.target.model = v, Status();
  if (flag == "-x") return to.target.version = v, Status();
  if (flag == "-u") return read_url(v, to);
  if (flag == "-i") return read_choice(flag, v, "grpc", "http", raw.grpc);
  if (flag == "--format") return read_choice(flag, v, "json", "binary", raw.json);
  if (flag == "--concurrency") return raw.concurrency = v, Status();
  if (flag == "--request-rate") return raw.rate = v, Status();
  if (flag == "--arrivals") return read_choice(flag, v, "poisson", "constant", to.poisson);
  if (flag == "--connections") return read_whole(flag, v, 1, kMostInFlight, to.connections);
  if (flag == "--streams") return read_whole(flag, v, 1, kMostInFlight, to.streams);
  if (flag == "--threads") return read_whole(flag, v, 1, 256, to.rules.threads);
  if (flag == "-b") return read_whole(flag, v, 1, 1'000'000, to.samples.batch);
  if (flag == "--shape") return read_shape(v, to.samples);
  if (flag == "--input-data") {
    to.samples.zero = v == "zero";
    to.input_file = v == "zero" || v == "random" ? "" : v;
    return {};
  }
  if (flag == "--string-length") return read_whole(flag, v, 0, 1e9, to.samples.string_length);
  if (flag == "--shared-memory") return read_shared_memory(v, to.shared_memory);
  if (flag == "--cuda-device") {
    std::int32_t number = 0;
    to.cuda_device = v;
    return v == "host" ? Status() : read_whole(flag, v, 0, 1023, number);
  }
  if (flag == "--output-shared-memory-size") return read_whole(flag, v, 1, 1e12, to.shared_output_bytes);
  if (flag == "--expect") return to.expect = v, Status();
  if (flag == "--warm-up") return read_ms(flag, v, 0, to.rules.warm_up);
  if (flag == "--window") return read_ms(flag, v, 10, to.rules.window);
  if (flag == "--windows") return read_whole(flag, v, 1, 1000, to.rules.windows);
  if (flag == "--max-windows") return read_whole(flag, v, 1, 100'000, to.rules.max_windows);
  if (flag == "--stability") {
    if (auto status = read_number(flag, v, 0, 1000, to.rules.stability); !status.ok()) return status;
    to.rules.stability /= 100;
    return {};
  }
  if (flag == "--percentile") return read_number(flag, v, 1, 100, to.rules.percentile);
  if (flag == "--count") return read_whole(flag, v, 1, 1e12, to.rules.count);
  if (flag == "--limit") return read_ms(flag, v, 1, to.rules.limit);
  if (flag == "--server-pid") {
    std::int32_t pid = 0;
    to.server_pid = v;
    return v == "auto" || v == "none" ? Status() : read_whole(flag, v, 1, 2147483647, pid);
  }
  if (flag == "--seed") return read_whole(flag, v, 0, 1e15, to.samples.seed);
  return to.label = v, Status();
}

Status finish(Options& to, const Raw& raw) {
  if (to.target.model.empty()) return invalid_argument("-m is missing: the name of the model");
  if (!raw.concurrency.empty() && !raw.rate.empty())
    return invalid_argument("--concurrency and --request-rate exclude each other");
  to.format = raw.grpc ? Format::grpc : raw.json ? Format::http_json : Format::http_binary;
  if (to.port.empty()) to.port = raw.grpc ? "8001" : "8000";
  to.target.authority = to.host + ":" + to.port;
  if (!raw.grpc && to.streams > 1)
    return invalid_argument("--streams: HTTP/1.1 carries one request on a connection; use --connections");
  const bool open_loop = !raw.rate.empty();
  auto levels = parse_levels(open_loop ? raw.rate : raw.concurrency.empty() ? "1" : raw.concurrency);
  if (!levels.ok())
    return invalid_argument((open_loop ? "--request-rate: " : "--concurrency: ") + levels.status().message());
  // Connections and streams alone say how many requests are in flight.
  if (!open_loop && raw.concurrency.empty()) {
    *levels = {static_cast<double>(std::max(to.connections, 1u)) * std::max(to.streams, 1u)};
  }
  for (const double level : *levels) {
    if (!open_loop && (level != std::floor(level) || level > kMostInFlight))
      return bad("--concurrency", std::to_string(level), "a whole number up to 100000");
    if (raw.grpc && !open_loop && to.connections > 1 && level > to.connections &&
        std::fmod(level, to.connections) != 0) {
      return invalid_argument("--concurrency " + std::to_string(static_cast<long long>(level)) +
                              " is no multiple of --connections " + std::to_string(to.connections));
    }
    to.loads.push_back(open_loop ? Load{0, level} : Load{static_cast<std::uint32_t>(level), 0});
  }
  to.rules.max_windows = std::max(to.rules.max_windows, to.rules.windows);
  return {};
}

}  // namespace

std::string_view to_string(SharedMemory where) {
  switch (where) {
    case SharedMemory::none: return "none";
    case SharedMemory::system: return "system";
    case SharedMemory::cuda: return "cuda";
  }
  return "";
}

Result<std::vector<double>> parse_levels(std::string_view text) {
  std::vector<double> levels;
  const char separator = text.find(':') != std::string_view::npos ? ':' : ',';
  for (std::string_view rest = text;;) {
    const auto end = rest.find(separator);
    double level = 0;
    if (!parse_number(rest.substr(0, end), level) || level <= 0)
      return bad("level", rest.substr(0, end), "a number above 0");
    levels.push_back(level);
    if (end == std::string_view::npos) break;
    rest.remove_prefix(end + 1);
  }
  if (separator == ',') return levels;
  if (levels.size() > 3) return bad("range", text, "of the form START:END or START:END:STEP");
  const double step = levels.size() == 3 ? levels[2] : 1;
  std::vector<double> range;
  for (double level = levels[0]; level <= levels[1] + 1e-9; level += step) {
    if (range.size() == kMostLevels) return bad("range", text, "at most 1000 levels");
    range.push_back(level);
  }
  if (range.empty()) return bad("range", text, "rising");
  return range;
}

Result<Options> parse_options(std::span<const char* const> arguments) {
  using namespace std::chrono_literals;
  Options to;
  to.rules.warm_up = 1s;
  to.rules.window = 1s;
  to.rules.limit = 60s;
  Raw raw;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    std::string_view name = arguments[i];
    std::optional<std::string_view> value;
    if (const auto equals = name.find('='); name.starts_with("--") && equals != std::string_view::npos) {
      value = name.substr(equals + 1);
      name = name.substr(0, equals);
    }
    const auto* flag =
        std::find_if(std::begin(kFlags), std::end(kFlags), [&](const Flag& f) { return f.name == name; });
    if (flag == std::end(kFlags))
      return invalid_argument("unknown flag '" + std::string(name) + "'; --help lists them");
    if (flag->value.empty()) {
      to.help |= name == "--help";
      to.statistics &= name != "--no-statistics";
      continue;
    }
    if (!value) {
      if (++i == arguments.size()) return invalid_argument(std::string(name) + " expects " + std::string(flag->value));
      value = arguments[i];
    }
    if (auto status = read_flag(name, *value, to, raw); !status.ok()) return status;
  }
  if (to.help) return to;
  if (auto status = finish(to, raw); !status.ok()) return status;
  return to;
}

std::string help_text() {
  std::string text =
      "argosy-load: measures one model of any KServe V2 server; one JSON line for each load.\n\n"
      "usage: argosy-load -m NAME [flags]\n\n";
  for (const Flag& flag : kFlags) {
    std::string left = "  " + std::string(flag.name) + " " + std::string(flag.value);
    left.resize(std::max<std::size_t>(left.size() + 1, 34), ' ');
    text += left + std::string(flag.text) + "\n";
  }
  return text;
}

}  // namespace argosy::load
