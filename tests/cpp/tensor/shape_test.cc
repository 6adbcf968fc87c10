#include "tensor/shape.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>

namespace argosy::tensor {
namespace {

constexpr std::int64_t kBig = std::int64_t{1} << 32;
constexpr std::int64_t kLargest = std::numeric_limits<std::int64_t>::max();

TEST(Shape, AScalarHasOneElement) {
  EXPECT_EQ(Shape().element_count(), 1);
  EXPECT_EQ(to_string(Shape()), "[]");
}

TEST(Shape, AnElementCountThatDoesNotFitIsNone) {
  EXPECT_EQ((Shape{kBig, kBig}).element_count(), std::nullopt);
  EXPECT_EQ((Shape{kBig, kBig, 1}).element_count(), std::nullopt) << "2^64 would wrap to 0";
  EXPECT_EQ((Shape{3, (std::int64_t{1} << 62) + 1, 4}).element_count(), std::nullopt);
  EXPECT_EQ((Shape{kLargest}).element_count(), kLargest);
  EXPECT_EQ((Shape{kLargest, 2}).element_count(), std::nullopt);
}

TEST(Shape, AZeroDoesNotHideAnOverflow) {
  EXPECT_EQ((Shape{0, kBig, kBig}).element_count(), std::nullopt);
  EXPECT_EQ((Shape{kBig, kBig, 0}).element_count(), std::nullopt);
  EXPECT_EQ((Shape{0, kBig}).element_count(), 0);
}

TEST(Shape, AnOpenDimensionHasNoCount) { EXPECT_EQ((Shape{2, -1}).element_count(), std::nullopt); }

TEST(Shape, MoreThanEightDimensionsAreKept) {
  Shape shape;
  for (std::int64_t i = 1; i <= 12; ++i) {
    shape.push_back(i);
    ASSERT_EQ(shape.rank(), static_cast<std::size_t>(i));
    for (std::int64_t j = 1; j <= i; ++j) ASSERT_EQ(shape[static_cast<std::size_t>(j - 1)], j);
  }
  shape.set(11, 7);
  EXPECT_EQ(to_string(shape), "[1,2,3,4,5,6,7,8,9,10,11,7]");
  const Shape copy = shape;
  EXPECT_EQ(copy, shape);
  EXPECT_EQ(shape.without_first().with_first(1), shape);
}

TEST(ShapeProperty, TheCountIsTheProductWherever128BitsSayItFits) {
  for (unsigned seed = 0; seed < 2'000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    Shape shape;
    __extension__ unsigned __int128 product = 1;
    bool fits = true;
    for (std::size_t i = random() % 6; i > 0; --i) {
      const auto dim = static_cast<std::int64_t>(1 + (random() >> (random() % 40 + 24)) % kLargest);
      shape.push_back(dim);
      if (fits) product *= static_cast<std::uint64_t>(dim);
      fits = fits && product <= static_cast<std::uint64_t>(kLargest);
    }
    if (fits) {
      ASSERT_EQ(shape.element_count(), static_cast<std::int64_t>(product));
    } else {
      ASSERT_EQ(shape.element_count(), std::nullopt);
    }
  }
}

}  // namespace
}  // namespace argosy::tensor
