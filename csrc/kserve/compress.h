#pragma once

// compress: gzip and deflate (zlib's format) bodies, both ways, a piece at a time.
//
// An Inflater never yields more than its limit, so a small body cannot become a large
// one; both classes hold only zlib's own window between calls.
//
// Thread: one at a time per object.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/bytes_pool.h"
#include "base/status.h"
#include "kserve/gather.h"

namespace argosy::kserve {

enum class Coding : std::uint8_t { identity, deflate, gzip };
std::string_view to_string(Coding coding);

// The coding named by a Content-Encoding header; "" is identity. Nothing: not ours.
std::optional<Coding> parse_content_encoding(std::string_view header);

// The best of identity, deflate and gzip under an Accept-Encoding header: the highest
// q, and of equals the first one listed. Identity when none fits.
Coding choose_coding(std::string_view accept_encoding);

class Inflater {
 public:
  // Yields at most `max_bytes` in all. Tells gzip from deflate by itself.
  explicit Inflater(std::size_t max_bytes);
  ~Inflater();
  Inflater(Inflater&&) noexcept;
  Inflater& operator=(Inflater&&) noexcept;

  // Appends what `input` decompresses to.
  Status add(std::span<const std::byte> input, std::string& to);
  // After the last input: was the body whole?
  Status finish() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// A whole body at once.
Result<Bytes> inflate_body(const Bytes& body, std::size_t max_bytes);

// `coding` is gzip or deflate; level 1..9.
Result<Gather> deflate_body(const Gather& body, Coding coding, BytesPool& pool, int level = 6);

}  // namespace argosy::kserve
