#include "kserve/compress.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

namespace argosy::kserve {
namespace {

constexpr std::size_t kChunk = std::size_t{64} << 10;
constexpr int kAutoDetect = 15 + 32;  // zlib's window bits: gzip or zlib header
constexpr int kGzip = 15 + 16;

Status too_large(std::size_t max_bytes) {
  return invalid_argument("Decompressed data size exceeds the maximum allowed value of " + std::to_string(max_bytes) +
                          " bytes. Use --http-max-input-size to increase the limit.");
}

std::string_view trimmed(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

bool same_word(std::string_view a, std::string_view lower) {
  return std::equal(a.begin(), a.end(), lower.begin(), lower.end(),
                    [](char x, char y) { return (x >= 'A' && x <= 'Z' ? static_cast<char>(x + 32) : x) == y; });
}

// q in thousandths; a missing or broken weight counts as 1, like no weight.
int weight_of(std::string_view parameters) {
  while (!parameters.empty()) {
    const std::size_t end = std::min(parameters.find(';'), parameters.size());
    const std::string_view one = trimmed(parameters.substr(0, end));
    if (one.size() > 2 && (one[0] == 'q' || one[0] == 'Q') && one[1] == '=') {
      double q = 1;
      const std::string_view number = trimmed(one.substr(2));
      const auto [at, error] = std::from_chars(number.data(), number.data() + number.size(), q);
      if (error == std::errc() && q >= 0 && q <= 1) return static_cast<int>(q * 1000);
      return 1000;
    }
    parameters.remove_prefix(std::min(end + 1, parameters.size()));
  }
  return 1000;
}

}  // namespace

std::string_view to_string(Coding coding) {
  constexpr std::array<std::string_view, 3> kNames{"identity", "deflate", "gzip"};
  return kNames[static_cast<std::size_t>(coding)];
}

std::optional<Coding> parse_content_encoding(std::string_view header) {
  header = trimmed(header);
  if (header.empty()) return Coding::identity;
  for (const Coding coding : {Coding::identity, Coding::deflate, Coding::gzip}) {
    if (same_word(header, to_string(coding))) return coding;
  }
  return std::nullopt;
}

Coding choose_coding(std::string_view accept) {
  Coding best = Coding::identity;
  int best_weight = 0;
  while (!accept.empty()) {
    const std::size_t end = std::min(accept.find(','), accept.size());
    const std::string_view item = accept.substr(0, end);
    const std::size_t mark = std::min(item.find(';'), item.size());
    const auto coding = parse_content_encoding(item.substr(0, mark));
    const int weight = weight_of(item.substr(mark));
    if (coding && !trimmed(item.substr(0, mark)).empty() && weight > best_weight) {
      best = *coding;
      best_weight = weight;
    }
    accept.remove_prefix(std::min(end + 1, accept.size()));
  }
  return best;
}

struct Inflater::State {
  z_stream stream{};
  std::size_t left = 0;
  std::size_t max_bytes = 0;
  bool started = false;
  bool ended = false;
  ~State() {
    if (started) inflateEnd(&stream);
  }
};

Inflater::Inflater(std::size_t max_bytes) : state_(std::make_unique<State>()) {
  state_->left = state_->max_bytes = max_bytes;
  state_->started = inflateInit2(&state_->stream, kAutoDetect) == Z_OK;
}
Inflater::~Inflater() = default;
Inflater::Inflater(Inflater&&) noexcept = default;
Inflater& Inflater::operator=(Inflater&&) noexcept = default;

Status Inflater::add(std::span<const std::byte> input, std::string& to) {
  if (!state_->started) return resource_exhausted("no memory to decompress the body");
  z_stream& stream = state_->stream;
  while (!input.empty()) {
    const std::size_t part = std::min<std::size_t>(input.size(), std::numeric_limits<uInt>::max());
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(input.data()));  // zlib does not write there
    stream.avail_in = static_cast<uInt>(part);
    input = input.subspan(part);
    do {
      if (state_->ended) {
        // A gzip body may be several members after one another.
        if (stream.avail_in == 0) break;
        if (inflateReset(&stream) != Z_OK) return invalid_argument("the body could not be decompressed");
        state_->ended = false;
      }
      std::array<char, 16384> chunk;
      stream.next_out = reinterpret_cast<Bytef*>(chunk.data());
      stream.avail_out = chunk.size();
      const int result = inflate(&stream, Z_NO_FLUSH);
      const std::size_t made = chunk.size() - stream.avail_out;
      if (made > state_->left) return too_large(state_->max_bytes);
      state_->left -= made;
      to.append(chunk.data(), made);
      if (result == Z_STREAM_END) {
        state_->ended = true;
      } else if (result == Z_BUF_ERROR) {
        break;  // wants more input
      } else if (result != Z_OK) {
        return invalid_argument(std::string("the body could not be decompressed: ") +
                                (stream.msg != nullptr ? stream.msg : "it is neither gzip nor deflate"));
      }
    } while (stream.avail_in > 0 || stream.avail_out == 0);
  }
  return {};
}

Status Inflater::finish() const {
  if (state_->ended) return {};
  return invalid_argument(state_->stream.total_in == 0 ? "nothing to be decompressed"
                                                       : "the compressed body ends before its data does");
}

Result<Bytes> inflate_body(const Bytes& body, std::size_t max_bytes) {
  Inflater inflater(max_bytes);
  std::string text;
  if (auto status = inflater.add(body.span(), text); !status.ok()) return status;
  if (auto status = inflater.finish(); !status.ok()) return status;
  return Bytes::take(std::move(text));
}

Result<Gather> deflate_body(const Gather& body, Coding coding, BytesPool& pool, int level) {
  z_stream stream{};
  if (deflateInit2(&stream, level, Z_DEFLATED, coding == Coding::gzip ? kGzip : 15, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
    return resource_exhausted("no memory to compress the body");
  }
  const std::unique_ptr<z_stream, int (*)(z_stream*)> at_exit(&stream, deflateEnd);
  Gather out;
  Buffer chunk;
  std::size_t used = 0;
  const auto pump = [&](int flush) -> Status {
    int result = Z_OK;
    do {
      if (!chunk) {
        chunk = pool.allocate(kChunk);
        if (!chunk) return resource_exhausted("no memory to compress the body");
        used = 0;
      }
      stream.next_out = reinterpret_cast<Bytef*>(chunk.data() + used);
      stream.avail_out = static_cast<uInt>(chunk.capacity() - used);
      result = deflate(&stream, flush);
      if (result == Z_STREAM_ERROR) return internal_error("the body could not be compressed");
      used = chunk.capacity() - stream.avail_out;
      if (stream.avail_out == 0) out.add(std::move(chunk).freeze(used)), chunk = Buffer();
    } while (stream.avail_in > 0 || (flush == Z_FINISH && result != Z_STREAM_END));
    return {};
  };
  for (const Bytes& piece : body.pieces) {
    std::span<const std::byte> left = piece.span();
    while (!left.empty()) {
      const std::size_t part = std::min<std::size_t>(left.size(), std::numeric_limits<uInt>::max());
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(left.data()));
      stream.avail_in = static_cast<uInt>(part);
      left = left.subspan(part);
      if (auto status = pump(Z_NO_FLUSH); !status.ok()) return status;
    }
  }
  if (auto status = pump(Z_FINISH); !status.ok()) return status;
  if (chunk) out.add(std::move(chunk).freeze(used));
  return out;
}

}  // namespace argosy::kserve
