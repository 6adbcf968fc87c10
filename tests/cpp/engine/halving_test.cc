#include "engine/halving.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace argosy::engine {
namespace {

using Part = Halving::Part;

TEST(Halving, GivesTheHalvesInTheOrderOfTheRequestsAndSplitsWhatFails) {
  Halving halving(5);
  EXPECT_EQ(halving.next(), (Part{0, 2}));
  EXPECT_TRUE(halving.failed({0, 2}, invalid_argument("row")));
  EXPECT_EQ(halving.next(), (Part{0, 1}));
  EXPECT_FALSE(halving.failed({0, 1}, invalid_argument("row")));
  EXPECT_EQ(halving.next(), (Part{1, 2}));
  EXPECT_EQ(halving.next(), (Part{2, 5}));
  EXPECT_EQ(halving.next(), std::nullopt);
}

TEST(Halving, HelpsOnlyWhereOneRequestMayBeToBlame) {
  EXPECT_TRUE(Halving::helps(internal_error("x"), 2));
  EXPECT_TRUE(Halving::helps(invalid_argument("x"), 2));
  EXPECT_FALSE(Halving::helps(internal_error("x"), 1));
  for (const Status& why : {resource_exhausted("x"), unavailable("x"), unsupported("x"), Status()}) {
    EXPECT_FALSE(Halving::helps(why, 8));
  }
}

// Whatever fails alone fails the parts it is in; nothing else may fail, and no more than
// 2n - 2 parts are run.
TEST(HalvingProperty, FailsThoseAloneThatFailAlone) {
  for (unsigned seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 dice(seed);
    const std::size_t count = 2 + dice() % 70;
    std::set<std::string> bad;
    backend::Batch batch;
    for (std::size_t i = 0; i < count; ++i) {
      batch.requests.push_back(std::make_unique<infer::Request>());
      batch.requests.back()->id = std::to_string(i);
      if (dice() % (1 + seed % 20) == 0) bad.insert(std::to_string(i));
    }
    std::size_t runs = 0;
    run_in_parts(batch, [&](backend::Batch& part) {
      ++runs;
      for (const auto& request : part.requests) {
        if (bad.contains(request->id))
          return invalid_argument(part.requests.size() == 1 ? "bad " + request->id : "all");
      }
      for (const auto& request : part.requests) {
        part.answers.emplace_back();
        part.answers.back().outputs.push_back({request->id, tensor::DType::uint8, {0}, {}});
      }
      return Status();
    });
    ASSERT_EQ(batch.answers.size(), count);
    EXPECT_LE(runs, 2 * count - 2);
    for (std::size_t i = 0; i < count; ++i) {
      const std::string id = std::to_string(i);
      ASSERT_EQ(batch.requests[i]->id, id);
      if (bad.contains(id)) {
        EXPECT_EQ(batch.answers[i].status, invalid_argument("bad " + id));
      } else {
        ASSERT_TRUE(batch.answers[i].status.ok());
        EXPECT_EQ(batch.answers[i].outputs.at(0).name, id);
      }
    }
  }
}

}  // namespace
}  // namespace argosy::engine
