#include "tensor/rows.h"

#include <gtest/gtest.h>

#include <random>

#include "tensor/strings.h"

namespace argosy::tensor {
namespace {

std::string text(const device::Memory& memory) { return std::string(memory.bytes().view()); }

// Gives nothing.
struct EmptyPool final : BytesPool {
  Buffer allocate(std::size_t) override { return {}; }
};

TEST(Rows, ByteSizeCannotOverflow) {
  EXPECT_EQ(byte_size(DType::fp32, {2, 3}), 24u);
  EXPECT_EQ(byte_size(DType::int64, {}), 8u);
  EXPECT_EQ(byte_size(DType::fp32, {0, 3}), 0u);
  EXPECT_EQ(byte_size(DType::bytes, {2}), std::nullopt);
  EXPECT_EQ(byte_size(DType::fp32, {-1}), std::nullopt);
  EXPECT_EQ(byte_size(DType::fp32, {std::int64_t{1} << 61}), std::nullopt);
  EXPECT_EQ(byte_size(DType::int8, {std::int64_t{1} << 40, std::int64_t{1} << 40}), std::nullopt);
}

TEST(Rows, JoinsPartsInOrder) {
  const std::vector<device::Memory> parts{Bytes::copy_of(std::string_view("ab")), Bytes(),
                                          Bytes::copy_of(std::string_view("cde"))};
  auto joined = join(parts, default_pool());
  ASSERT_TRUE(joined.ok());
  EXPECT_EQ(text(*joined), "abcde");
}

TEST(Rows, JoiningNothingNeedsNoMemory) {
  EmptyPool pool;
  const std::vector<device::Memory> parts(3);
  ASSERT_TRUE(join(parts, pool).ok());
}

TEST(Rows, APoolWithoutMemoryIsAnError) {
  EmptyPool pool;
  const std::vector<device::Memory> parts{Bytes::copy_of(std::string_view("ab"))};
  EXPECT_EQ(join(parts, pool).status(), resource_exhausted("no memory for a batch tensor of 2 bytes"));
}

TEST(Rows, SplitsDenseTensorsWithoutACopy) {
  const Tensor whole{"x", DType::int16, {3, 2}, Bytes::copy_of(std::string_view("aabbccddeeff"))};
  const std::vector<std::uint32_t> rows{1, 0, 2};
  const auto parts = split(whole, rows);
  ASSERT_EQ(parts.size(), 3u);
  EXPECT_EQ(text(parts[0].data), "aabb");
  EXPECT_EQ(parts[1].shape, (Shape{0, 2}));
  EXPECT_EQ(text(parts[1].data), "");
  EXPECT_EQ(text(parts[2].data), "ccddeeff");
  EXPECT_EQ(parts[2].data.data(), whole.data.data() + 4);
}

TEST(Rows, SplitsStringsByTheirElements) {
  std::string bytes;
  for (const char* value : {"a", "", "long one", "b"}) append_element(bytes, value);
  const Tensor whole{"s", DType::bytes, {2, 2}, Bytes::take(bytes)};
  const std::vector<std::uint32_t> rows{1, 1};
  const auto parts = split(whole, rows);
  EXPECT_EQ(parts[0].data.size(), 5u + 4u);
  EXPECT_EQ(parts[1].data.size(), 12u + 5u);
  EXPECT_EQ(text(parts[0].data) + text(parts[1].data), bytes);
}

TEST(Rows, RowsWithoutElementsHaveNoBytes) {
  const Tensor whole{"x", DType::fp32, {3, 0, 7}, {}};
  const std::vector<std::uint32_t> rows{2, 1};
  EXPECT_EQ(part_offsets(whole, rows), (std::vector<std::size_t>{0, 0, 0}));
}

TEST(Rows, PartsMayBeCountedInElementsWhateverTheShape) {
  const std::vector<std::size_t> counts{3, 0, 1};
  const Tensor dense{"x", DType::fp32, {2, 2}, Bytes::take(std::string(16, 'x'))};
  EXPECT_EQ(element_offsets(dense, counts), (std::vector<std::size_t>{0, 12, 12, 16}));
  std::string bytes;
  for (const char* value : {"a", "", "long one", "b"}) append_element(bytes, value);
  const Tensor strings{"s", DType::bytes, {2, 2}, Bytes::take(bytes)};
  EXPECT_EQ(element_offsets(strings, counts), (std::vector<std::size_t>{0, 21, 21, 26}));
}

// Splitting and joining again gives the same bytes, for any type and any cut.
TEST(RowsProperty, JoinUndoesSplit) {
  for (unsigned seed = 0; seed < 2'000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    std::vector<std::uint32_t> rows(1 + random() % 5);
    std::int64_t total = 0;
    for (auto& count : rows) total += count = random() % 4;
    const auto dtype = static_cast<DType>(random() % kDTypes);
    const Shape shape{total, static_cast<std::int64_t>(random() % 3), 2};
    const auto count = static_cast<std::size_t>(*shape.element_count());
    std::string bytes;
    if (dtype == DType::bytes) {
      for (std::size_t i = 0; i < count; ++i) append_element(bytes, std::string(random() % 6, 'x'));
    } else {
      for (std::size_t i = 0; i < count * element_size(dtype); ++i) bytes += static_cast<char>(random());
    }
    std::vector<device::Memory> parts;
    std::int64_t seen = 0;
    for (const Tensor& part : split({"x", dtype, shape, Bytes::take(bytes)}, rows)) {
      parts.push_back(part.data);
      seen += part.shape[0];
      if (dtype != DType::bytes) {
        ASSERT_EQ(part.data.size(), byte_size(dtype, part.shape));
      }
    }
    ASSERT_EQ(seen, total);
    auto joined = join(parts, default_pool());
    ASSERT_TRUE(joined.ok());
    ASSERT_EQ(text(*joined), bytes);
  }
}

}  // namespace
}  // namespace argosy::tensor
