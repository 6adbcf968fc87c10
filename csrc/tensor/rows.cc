#include "tensor/rows.h"

#include <cassert>
#include <cstring>
#include <string>

#include "tensor/strings.h"

namespace argosy::tensor {
namespace {

std::size_t elements_per_row(const Tensor& whole) {
  if (whole.shape.rank() == 0) return 1;
  return static_cast<std::size_t>(whole.shape.without_first().element_count().value_or(0));
}

template <class Count>
std::vector<std::size_t> offsets_of(const Tensor& whole, std::span<const Count> counts, std::size_t elements_each) {
  std::vector<std::size_t> offsets;
  offsets.reserve(counts.size() + 1);
  const std::size_t each = element_size(whole.dtype);
  std::size_t at = 0;
  offsets.push_back(at);
  for (const Count count : counts) {
    if (each > 0) {
      at += count * elements_each * each;
    } else {
      const std::span<const std::byte> bytes(whole.data.data(), whole.data.size());
      for (std::size_t i = 0; i < count * elements_each; ++i) at += first_element(bytes.subspan(at)).used;
    }
    offsets.push_back(at);
  }
  return offsets;
}

}  // namespace

std::optional<std::size_t> byte_size(DType dtype, const Shape& shape) {
  const std::size_t each = element_size(dtype);
  const auto count = shape.element_count();
  if (each == 0 || !count) return std::nullopt;
  std::ptrdiff_t bytes = 0;
  if (__builtin_mul_overflow(*count, each, &bytes)) return std::nullopt;
  return static_cast<std::size_t>(bytes);
}

Result<device::Memory> join(std::span<const device::Memory> parts, BytesPool& pool) {
  std::size_t size = 0;
  for (const auto& part : parts) size += part.size();
  if (size == 0) return device::Memory();
  Buffer buffer = pool.allocate(size);
  if (!buffer) return resource_exhausted("no memory for a batch tensor of " + std::to_string(size) + " bytes");
  std::byte* to = buffer.data();
  for (const auto& part : parts) {
    assert(part.on_host());
    if (!part.empty()) std::memcpy(to, part.data(), part.size());
    to += part.size();
  }
  return device::Memory(std::move(buffer).freeze(size));
}

std::vector<std::size_t> part_offsets(const Tensor& whole, std::span<const std::uint32_t> rows) {
  return offsets_of(whole, rows, elements_per_row(whole));
}

std::vector<std::size_t> element_offsets(const Tensor& whole, std::span<const std::size_t> counts) {
  return offsets_of(whole, counts, 1);
}

std::vector<Tensor> split(const Tensor& whole, std::span<const std::uint32_t> rows) {
  const auto offsets = part_offsets(whole, rows);
  std::vector<Tensor> parts;
  parts.reserve(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    Shape shape = whole.shape;
    shape.set(0, rows[i]);
    parts.push_back(
        {whole.name, whole.dtype, std::move(shape), whole.data.slice(offsets[i], offsets[i + 1] - offsets[i])});
  }
  return parts;
}

}  // namespace argosy::tensor
