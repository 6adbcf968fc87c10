#include "infer/reply.h"

#include <gtest/gtest.h>

#include <vector>

#include "infer/request.h"

namespace argosy::infer {
namespace {

struct Heard {
  StatusCode code;
  bool last;
  friend bool operator==(const Heard&, const Heard&) = default;
};

struct Listener final : ReplySink {
  explicit Listener(std::vector<Heard>& heard) : heard_(heard) {}
  void send(Response response, bool last) override { heard_.push_back({response.status.code(), last}); }
  std::vector<Heard>& heard_;
};

TEST(Reply, ARequestDroppedAnywhereIsAnsweredWithInternal) {
  std::vector<Heard> heard;
  {
    auto lost = std::make_unique<Request>();
    lost->reply.wrap([&](auto) { return std::make_unique<Listener>(heard); });
  }
  EXPECT_EQ(heard, (std::vector<Heard>{{StatusCode::internal, true}}));
}

TEST(Reply, FinishIsTheLastWordEvenAfterAMove) {
  std::vector<Heard> heard;
  {
    Reply reply(std::make_unique<Listener>(heard));
    reply.stream({});
    Reply moved = std::move(reply);
    std::move(moved).finish({});
  }
  EXPECT_EQ(heard, (std::vector<Heard>{{StatusCode::ok, false}, {StatusCode::ok, true}}));
}

struct Cancelled final : CancelListener {
  void on_cancelled() override { ++times; }
  int times = 0;
};

TEST(Cancellation, TellsItsListenerOnceWheneverItCame) {
  Cancellation before, after;
  const auto first = std::make_shared<Cancelled>(), second = std::make_shared<Cancelled>();
  before.listen(first);
  before.cancel();
  before.cancel();
  EXPECT_EQ(first->times, 1);
  after.cancel();
  after.listen(second);
  EXPECT_EQ(second->times, 1);
}

TEST(Cancellation, AReplacedListenerHearsNothing) {
  Cancellation cancellation;
  const auto gone = std::make_shared<Cancelled>();
  cancellation.listen(gone);
  cancellation.listen(nullptr);
  cancellation.cancel();
  EXPECT_EQ(gone->times, 0);
  EXPECT_TRUE(cancellation.cancelled());
}

TEST(Request, MessagesBeginWithItsId) {
  Request request;
  EXPECT_EQ(id_prefix(request), "[request id: <id_unknown>] ");
  request.id = "7";
  EXPECT_EQ(id_prefix(request), "[request id: 7] ");
}

}  // namespace
}  // namespace argosy::infer
