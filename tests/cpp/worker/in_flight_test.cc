#include "worker/in_flight.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

namespace argosy::worker {
namespace {

struct Heard {
  std::vector<std::string> answers;  // status texts; "last" marks finals
};

class HeardSink final : public infer::ReplySink {
 public:
  explicit HeardSink(Heard& heard) : heard_(heard) {}
  void send(infer::Response response, bool last) override {
    heard_.answers.push_back(response.status.message() + (last ? "|last" : ""));
  }

 private:
  Heard& heard_;
};

struct Table {
  std::array<std::atomic<std::uint32_t>, 4> flags{};
  std::vector<Handle> left;
  InFlight in_flight{nullptr, flags, [this](Handle handle) { left.push_back(handle); }};
};

infer::RequestPtr request(Heard& heard) {
  auto made = std::make_unique<infer::Request>();
  made->cancellation = std::make_shared<infer::Cancellation>();
  made->reply.wrap([&](auto) { return std::make_unique<HeardSink>(heard); });
  return made;
}

const InFlight::Fit kAsIs = [](const infer::Request&, infer::Response&) {};

TEST(InFlight, StreamsUntilTheLastResponseAndDropsWhatComesLater) {
  Table table;
  Heard heard;
  auto one = request(heard);
  const Handle handle = *table.in_flight.add(*one);
  ASSERT_FALSE(table.in_flight.keep(handle, one));
  table.in_flight.respond(handle, infer::Response{}, false, true, kAsIs);
  table.in_flight.respond(handle, std::nullopt, true, true, kAsIs);
  table.in_flight.respond(handle, infer::Response{}, true, true, kAsIs);
  EXPECT_EQ(heard.answers, (std::vector<std::string>{"", "|last"}));
}

TEST(InFlight, AnEarlyResponseIsGivenBackWithTheRequest) {
  Table table;
  Heard heard;
  auto one = request(heard);
  const Handle handle = *table.in_flight.add(*one);
  table.in_flight.respond(handle, infer::Response{internal_error("early"), {}, {}}, true, false, kAsIs);
  const auto early = table.in_flight.keep(handle, one);
  ASSERT_TRUE(early);
  EXPECT_EQ(early->status.message(), "early");
  ASSERT_TRUE(one);
  std::move(one->reply).finish({});
}

TEST(InFlight, ACancellationReachesItsOwnGenerationOnly) {
  Table table;
  Heard heard;
  auto one = request(heard);
  const auto cancellation = one->cancellation;
  const Handle first = *table.in_flight.add(*one);
  table.in_flight.settle(first);
  auto two = request(heard);
  const Handle second = *table.in_flight.add(*two);
  ASSERT_EQ(static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(second));
  cancellation->cancel();
  EXPECT_TRUE(table.left.empty());
  two->cancellation->cancel();
  EXPECT_EQ(table.left, std::vector<Handle>{second});
  EXPECT_EQ(table.flags[static_cast<std::uint32_t>(second)].load(), second >> 32);
  table.in_flight.settle(second);
}

TEST(InFlight, ClosingAnswersWhatIsKeptAndTakesNoMore) {
  Table table;
  Heard heard;
  auto one = request(heard);
  const Handle handle = *table.in_flight.add(*one);
  ASSERT_FALSE(table.in_flight.keep(handle, one));
  table.in_flight.close(unavailable("died"));
  EXPECT_EQ(heard.answers, std::vector<std::string>{"died|last"});
  auto two = request(heard);
  EXPECT_FALSE(table.in_flight.add(*two));
}

TEST(InFlight, RefusesMoreThanItHasSlotsFor) {
  Table table;
  Heard heard;
  std::vector<infer::RequestPtr> many;
  for (int i = 0; i < 4; ++i) {
    many.push_back(request(heard));
    ASSERT_TRUE(table.in_flight.add(*many.back()));
  }
  auto one = request(heard);
  EXPECT_FALSE(table.in_flight.add(*one));
}

}  // namespace
}  // namespace argosy::worker
