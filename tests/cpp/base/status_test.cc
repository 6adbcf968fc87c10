#include "base/status.h"

#include <gtest/gtest.h>

#include <memory>
#include <set>

namespace argosy {
namespace {

TEST(Status, IsOkUntilItSaysOtherwise) {
  EXPECT_TRUE(Status().ok());
  const Status status = not_found("model 'x'");
  EXPECT_FALSE(status.ok());
  EXPECT_EQ(status.code(), StatusCode::not_found);
  EXPECT_EQ(status.message(), "model 'x'");
}

TEST(Status, EveryCodeHasItsOwnName) {
  std::set<std::string_view> names;
  for (int code = 0; code <= static_cast<int>(StatusCode::internal); ++code) {
    names.insert(to_string(static_cast<StatusCode>(code)));
  }
  EXPECT_EQ(names.size(), static_cast<std::size_t>(StatusCode::internal) + 1);
}

TEST(Result, HoldsAValueOrWhyThereIsNone) {
  Result<std::unique_ptr<int>> value(std::make_unique<int>(3));
  ASSERT_TRUE(value.ok());
  EXPECT_TRUE(value.status().ok());
  EXPECT_EQ(*std::unique_ptr<int>(*std::move(value)), 3);

  const Result<int> none(unavailable("later"));
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.status(), unavailable("later"));
}

}  // namespace
}  // namespace argosy
