// fuzz_grpc_frame: gRPC messages in a byte stream. The first byte chooses how the rest
// is cut; however it is, the same messages must come out, and memory is only taken for
// a length that is allowed.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "grpc/framing.h"
#include "grpc/status.h"
#include "grpc/timeout.h"

using namespace argosy;

namespace {

constexpr std::size_t kLimit = 1u << 16;

struct Read {
  std::vector<std::string> messages;
  bool failed = false;
  friend bool operator==(const Read&, const Read&) = default;
};

Read read_in_pieces(const Bytes& all, std::size_t piece) {
  Read read;
  grpc::MessageReader reader(kLimit);
  for (std::size_t at = 0; at < all.size() && !read.failed; at += piece) {
    Bytes data = all.slice(at, std::min(piece, all.size() - at));
    for (;;) {
      auto next = reader.next(data, default_pool());
      if (!next.ok()) {
        read.failed = true;
        break;
      }
      if (*next) {
        if ((*next)->bytes.size() > kLimit) std::abort();
        read.messages.emplace_back((*next)->bytes.view());
      } else if (data.empty()) {
        break;
      }
    }
  }
  return read;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const Bytes all = Bytes::copy_of(std::as_bytes(std::span(data + 1, size - 1)));
  if (read_in_pieces(all, 1 + data[0]) != read_in_pieces(all, size)) std::abort();
  (void)grpc::parse_timeout(all.view());
  if (grpc::percent_decode(grpc::percent_encode(all.view())) != all.view()) std::abort();
  return 0;
}
