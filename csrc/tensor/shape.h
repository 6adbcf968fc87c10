#pragma once

// Shape: the dimensions of a tensor, in place up to eight of them.
//
// A dimension is >= 0, or -1 where a specification leaves it open. element_count()
// is the only place that multiplies dimensions; it cannot overflow.
//
// Thread: a value; any.

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace argosy::tensor {

class Shape {
 public:
  Shape() = default;  // a scalar: no dimensions, one element
  Shape(std::initializer_list<std::int64_t> dims) : Shape(std::span(dims.begin(), dims.size())) {}
  explicit Shape(std::span<const std::int64_t> dims) {
    for (const std::int64_t dim : dims) push_back(dim);
  }

  std::size_t rank() const { return rank_; }
  std::int64_t operator[](std::size_t i) const { return data()[i]; }
  std::span<const std::int64_t> dims() const { return {data(), rank_}; }
  const std::int64_t* begin() const { return data(); }
  const std::int64_t* end() const { return data() + rank_; }

  void push_back(std::int64_t dim) {
    if (rank_ < kInPlace) {
      few_[rank_++] = dim;
      return;
    }
    if (rank_ == kInPlace) many_.assign(few_.begin(), few_.end());
    many_.push_back(dim);
    ++rank_;
  }
  void set(std::size_t i, std::int64_t dim) { (rank_ > kInPlace ? many_.data() : few_.data())[i] = dim; }

  // The dimensions after the first; only for rank() >= 1.
  Shape without_first() const { return Shape(dims().subspan(1)); }
  Shape with_first(std::int64_t dim) const;

  // Nothing when a dimension is negative or the product exceeds 2^63 - 1.
  std::optional<std::int64_t> element_count() const;

  friend bool operator==(const Shape& a, const Shape& b) {
    if (a.rank_ != b.rank_) return false;
    for (std::size_t i = 0; i < a.rank_; ++i) {
      if (a[i] != b[i]) return false;
    }
    return true;
  }

 private:
  static constexpr std::size_t kInPlace = 8;
  const std::int64_t* data() const { return rank_ > kInPlace ? many_.data() : few_.data(); }

  std::array<std::int64_t, kInPlace> few_{};
  std::vector<std::int64_t> many_;
  std::size_t rank_ = 0;
};

std::string to_string(const Shape& shape);  // "[1,-1,16]"

}  // namespace argosy::tensor
