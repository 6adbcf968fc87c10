// HTTP/1 heads, lengths and chunks: the first byte says how large the pieces are in
// which the rest arrives. Whatever comes, what is handed out must be readable, and the
// same bytes in one piece must give the same requests.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "http1/parser.h"

namespace {

using namespace argosy;

std::vector<std::string> requests_of(std::string_view bytes, std::size_t step) {
  http1::Parser parser({.max_header_bytes = 4096, .max_headers = 32, .max_body_bytes = 1u << 16, .max_chunks = 64},
                       default_pool());
  std::vector<std::string> seen;
  while (!bytes.empty()) {
    const auto space = parser.space();
    const std::size_t count = std::min({step, bytes.size(), space.size()});
    if (count == 0) std::abort();  // a parser that can take nothing would never end
    std::memcpy(space.data(), bytes.data(), count);
    parser.filled(count);
    bytes.remove_prefix(count);
    for (http1::Event event = parser.next(); event != http1::Event::need_more; event = parser.next()) {
      if (event == http1::Event::fault) return seen;
      if (event != http1::Event::message) continue;
      std::string all(parser.head().method);
      all.append(parser.head().target);
      for (const http1::Field& field : parser.head().fields) all.append(field.name).append(field.value);
      all.append(parser.take_body().view());
      seen.push_back(std::move(all));
    }
  }
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::vector<std::string> pieces = requests_of(bytes, std::size_t{data[0]} + 1);
  if (pieces != requests_of(bytes, SIZE_MAX)) std::abort();
  return 0;
}
