#include "sched/dynamic_batcher.h"

#include "sched/queued.h"

namespace argosy::sched {
namespace {

model::QueuePolicy policy(model::TimeoutAction action, Micros timeout, std::uint32_t limit = 0) {
  return {.timeout_action = action, .default_timeout = timeout, .max_queue_size = limit};
}

TEST(DynamicBatcher, WithoutADelayRunsWhatIsThereAtOnce) {
  DynamicBatcher batcher(batching_model(8), 1);
  EXPECT_TRUE(waits_for_work(batcher.next(0, at(0us))));
  ASSERT_TRUE(batcher.push(request("a"), at(0us)).ok());
  EXPECT_EQ(ids(batcher.next(0, at(0us))), Ids{"a"});
}

TEST(DynamicBatcher, WaitsForCompanyUntilTheOldestRequestIsDue) {
  DynamicBatcher batcher(batching_model(4, {.max_queue_delay = 100us}), 1);
  ASSERT_TRUE(batcher.push(request("a"), at(0us)).ok());
  ASSERT_TRUE(batcher.push(request("b", {.arrived = 60us}), at(60us)).ok());

  EXPECT_EQ(std::get<WaitUntil>(batcher.next(0, at(99us))).when, at(100us));
  EXPECT_EQ(ids(batcher.next(0, at(100us))), (Ids{"a", "b"}));
}

TEST(DynamicBatcher, AFullBatchDoesNotWait) {
  DynamicBatcher batcher(batching_model(2, {.max_queue_delay = Micros(1h)}), 1);
  for (const char* id : {"a", "b", "c"}) ASSERT_TRUE(batcher.push(request(id), at(0us)).ok());
  EXPECT_EQ(ids(batcher.next(0, at(0us))), (Ids{"a", "b"}));
}

TEST(DynamicBatcher, ARequestThatDoesNotFitClosesTheBatchAndIsNotOvertaken) {
  DynamicBatcher batcher(batching_model(4, {.max_queue_delay = Micros(1h)}), 1);
  ASSERT_TRUE(batcher.push(request("a", {.rows = 3}), at(0us)).ok());
  ASSERT_TRUE(batcher.push(request("b", {.rows = 2}), at(0us)).ok());
  ASSERT_TRUE(batcher.push(request("c", {.rows = 1}), at(0us)).ok());
  EXPECT_EQ(ids(batcher.next(0, at(0us))), Ids{"a"});
}

TEST(DynamicBatcher, ABacklogRunsTheLargestReachablePreferredSize) {
  DynamicBatcher batcher(batching_model(8, {.preferred_rows = {2, 4}}), 1);
  for (const char* id : {"a", "b", "c", "d", "e", "f", "g"}) ASSERT_TRUE(batcher.push(request(id), at(0us)).ok());
  EXPECT_EQ(ids(batcher.next(0, at(0us))), (Ids{"a", "b", "c", "d"}));
  EXPECT_EQ(ids(batcher.next(0, at(0us))), (Ids{"e", "f"}));
  EXPECT_EQ(ids(batcher.next(0, at(0us))), Ids{"g"});
}

TEST(DynamicBatcher, APreferredSizeReachedDoesNotWaitForTheDelay) {
  DynamicBatcher batcher(batching_model(8, {.preferred_rows = {3}, .max_queue_delay = Micros(1h)}), 1);
  for (const char* id : {"a", "b"}) ASSERT_TRUE(batcher.push(request(id), at(0us)).ok());
  EXPECT_TRUE(std::holds_alternative<WaitUntil>(batcher.next(0, at(0us))));
  ASSERT_TRUE(batcher.push(request("c"), at(1us)).ok());
  EXPECT_EQ(ids(batcher.next(0, at(1us))), (Ids{"a", "b", "c"}));
}

TEST(DynamicBatcher, AnOverdueBatchTakesAllThatFitsWhateverIsPreferred) {
  DynamicBatcher batcher(batching_model(8, {.preferred_rows = {2}, .max_queue_delay = 10us}), 1);
  for (const char* id : {"a", "b", "c"}) ASSERT_TRUE(batcher.push(request(id), at(0us)).ok());
  EXPECT_EQ(ids(batcher.next(0, at(10us))), (Ids{"a", "b", "c"}));
}

TEST(DynamicBatcher, ARequestLargerThanEveryPreferredSizeRunsAlone) {
  DynamicBatcher batcher(batching_model(8, {.preferred_rows = {2}, .max_queue_delay = Micros(1h)}), 1);
  ASSERT_TRUE(batcher.push(request("a", {.rows = 5}), at(0us)).ok());
  ASSERT_TRUE(batcher.push(request("b"), at(0us)).ok());
  EXPECT_EQ(ids(batcher.next(0, at(0us))), Ids{"a"});
}

TEST(DynamicBatcher, RequestsOfDifferentShapesDoNotShareABatch) {
  DynamicBatcher batcher(batching_model(8), 1);
  ASSERT_TRUE(batcher.push(request("a", {.width = 4}), at(0us)).ok());
  ASSERT_TRUE(batcher.push(request("b", {.width = 5}), at(0us)).ok());
  ASSERT_TRUE(batcher.push(request("c", {.width = 5}), at(0us)).ok());
  EXPECT_EQ(ids(batcher.next(0, at(0us))), Ids{"a"});
  EXPECT_EQ(ids(batcher.next(0, at(0us))), (Ids{"b", "c"}));
}

TEST(DynamicBatcher, ARaggedInputMayDifferInShape) {
  auto spec = batching_model(8);
  spec.inputs[0].ragged = true;
  DynamicBatcher batcher(spec, 1);
  ASSERT_TRUE(batcher.push(request("a", {.width = 4}), at(0us)).ok());
  ASSERT_TRUE(batcher.push(request("b", {.width = 5}), at(0us)).ok());
  EXPECT_EQ(ids(batcher.next(0, at(0us))), (Ids{"a", "b"}));
}

TEST(DynamicBatcher, RequestsWithDifferentOptionalInputsDoNotShareABatch) {
  DynamicBatcher batcher(batching_model(8), 1);
  ASSERT_TRUE(batcher.push(request("a"), at(0us)).ok());
  ASSERT_TRUE(batcher.push(request("b", {.with_optional = true}), at(0us)).ok());
  EXPECT_EQ(ids(batcher.next(0, at(0us))), Ids{"a"});
}

TEST(DynamicBatcher, AModelThatDoesNotBatchQueuesAndRunsOneByOne) {
  DynamicBatcher batcher(batching_model(0, {.max_queue_delay = Micros(1h)}), 1);
  for (const char* id : {"a", "b"}) ASSERT_TRUE(batcher.push(request(id), at(0us)).ok());
  EXPECT_EQ(ids(batcher.next(0, at(0us))), Ids{"a"});
  EXPECT_EQ(ids(batcher.next(0, at(0us))), Ids{"b"});
}

TEST(DynamicBatcher, LevelOneRunsBeforeLevelTwoAndAnUnknownLevelIsTheDefault) {
  DynamicBatcher batcher(batching_model(1, {.priority_levels = 3, .default_priority = 2}), 1);
  ASSERT_TRUE(batcher.push(request("third", {.priority = 3}), at(0us)).ok());
  ASSERT_TRUE(batcher.push(request("unnamed", {.priority = 0}), at(0us)).ok());
  ASSERT_TRUE(batcher.push(request("beyond", {.priority = 9}), at(0us)).ok());
  ASSERT_TRUE(batcher.push(request("first", {.priority = 1}), at(0us)).ok());
  for (const char* id : {"first", "unnamed", "beyond", "third"}) EXPECT_EQ(ids(batcher.next(0, at(0us))), Ids{id});
}

TEST(DynamicBatcher, AHigherLevelJoinsTheFrontOfABatchThatIsWaiting) {
  DynamicBatcher batcher(batching_model(2, {.max_queue_delay = 50us, .priority_levels = 2, .default_priority = 2}), 1);
  ASSERT_TRUE(batcher.push(request("low"), at(0us)).ok());
  EXPECT_EQ(std::get<WaitUntil>(batcher.next(0, at(1us))).when, at(50us));
  ASSERT_TRUE(batcher.push(request("high", {.arrived = 2us, .priority = 1}), at(2us)).ok());
  EXPECT_EQ(ids(batcher.next(0, at(2us))), (Ids{"high", "low"}));
}

TEST(DynamicBatcher, AFullQueueRefusesAndLeavesTheRequestWithTheCaller) {
  DynamicBatcher batcher(batching_model(4, {.default_policy = {.max_queue_size = 2}}), 1);
  for (const char* id : {"a", "b"}) ASSERT_TRUE(batcher.push(request(id), at(0us)).ok());
  auto refused = request("7");
  EXPECT_EQ(batcher.push(std::move(refused), at(0us)), unavailable("[request id: 7] Exceeds maximum queue size"));
  ASSERT_NE(refused.request, nullptr);
  EXPECT_EQ(ids(batcher.next(0, at(0us))), (Ids{"a", "b"}));
  EXPECT_TRUE(batcher.push(std::move(refused), at(0us)).ok());
}

TEST(DynamicBatcher, EachLevelHasItsOwnLimit) {
  DynamicBatcher batcher(batching_model(4, {.priority_levels = 2,
                                            .default_priority = 2,
                                            .default_policy = {.max_queue_size = 1},
                                            .level_policies = {{1, {.max_queue_size = 2}}}}),
                         1);
  EXPECT_TRUE(batcher.push(request("a", {.priority = 1}), at(0us)).ok());
  EXPECT_TRUE(batcher.push(request("b", {.priority = 1}), at(0us)).ok());
  EXPECT_FALSE(batcher.push(request("c", {.priority = 1}), at(0us)).ok());
  EXPECT_TRUE(batcher.push(request("d"), at(0us)).ok());
  EXPECT_FALSE(batcher.push(request("e"), at(0us)).ok());
}

TEST(DynamicBatcher, ARequestPastItsDeadlineDoesNotCountAgainstTheLimit) {
  DynamicBatcher batcher(batching_model(4, {.default_policy = {.max_queue_size = 1}}), 1);
  ASSERT_TRUE(batcher.push(request("a", {.deadline = at(5us)}), at(0us)).ok());
  EXPECT_FALSE(batcher.push(request("b"), at(4us)).ok());
  EXPECT_TRUE(batcher.push(request("b"), at(5us)).ok());
  EXPECT_EQ(batcher.next_deadline(), TimePoint::min()) << "a waits to be answered";
  EXPECT_EQ(batcher.expired(at(5us)).size(), 1u);
}

TEST(DynamicBatcher, RejectDropsAtTheSmallerOfClientAndModelDeadline) {
  DynamicBatcher batcher(
      batching_model(4, {.max_queue_delay = Micros(1h), .default_policy = policy(model::TimeoutAction::reject, 100us)}),
      1);
  ASSERT_TRUE(batcher.push(request("model's"), at(0us)).ok());
  ASSERT_TRUE(batcher.push(request("client's", {.deadline = at(40us)}), at(0us)).ok());
  EXPECT_EQ(batcher.next_deadline(), at(40us));
  EXPECT_TRUE(batcher.expired(at(39us)).empty());

  const auto first = batcher.expired(at(40us));
  ASSERT_EQ(first.size(), 1u);
  EXPECT_EQ(first[0].item.request->id, "client's");
  EXPECT_EQ(first[0].why, unavailable("Request timeout expired"));

  EXPECT_EQ(batcher.next_deadline(), at(100us));
  ASSERT_EQ(batcher.expired(at(100us)).size(), 1u);
  EXPECT_EQ(batcher.next_deadline(), TimePoint::max());
  EXPECT_EQ(batcher.size(), 0u);
}

TEST(DynamicBatcher, NextNeverRunsWhatIsPastItsDeadlineAndExpiredReturnsIt) {
  DynamicBatcher batcher(batching_model(4), 1);
  ASSERT_TRUE(batcher.push(request("late", {.deadline = at(10us)}), at(0us)).ok());
  ASSERT_TRUE(batcher.push(request("live"), at(0us)).ok());
  EXPECT_EQ(ids(batcher.next(0, at(10us))), Ids{"live"});
  EXPECT_EQ(batcher.size(), 0u);
  EXPECT_EQ(batcher.next_deadline(), TimePoint::min());
  const auto dropped = batcher.expired(at(10us));
  ASSERT_EQ(dropped.size(), 1u);
  EXPECT_EQ(dropped[0].item.request->id, "late");
}

TEST(DynamicBatcher, DelayServesLateRequestsAfterTheLiveOnesOfTheirLevel) {
  DynamicBatcher batcher(batching_model(1, {.default_policy = policy(model::TimeoutAction::delay, 10us)}), 1);
  ASSERT_TRUE(batcher.push(request("late 1"), at(0us)).ok());
  ASSERT_TRUE(batcher.push(request("late 2", {.arrived = 1us}), at(1us)).ok());
  ASSERT_TRUE(batcher.push(request("live", {.arrived = 5us}), at(5us)).ok());
  EXPECT_TRUE(batcher.expired(at(12us)).empty());
  for (const char* id : {"live", "late 1", "late 2"}) EXPECT_EQ(ids(batcher.next(0, at(12us))), Ids{id});
}

TEST(DynamicBatcher, AClientsDeadlineDropsEvenWhatTheModelOnlyDelays) {
  DynamicBatcher batcher(batching_model(1, {.default_policy = policy(model::TimeoutAction::delay, 10us)}), 1);
  ASSERT_TRUE(batcher.push(request("a", {.deadline = at(30us)}), at(0us)).ok());
  EXPECT_TRUE(batcher.expired(at(20us)).empty());
  EXPECT_EQ(batcher.expired(at(30us)).size(), 1u);
  EXPECT_TRUE(waits_for_work(batcher.next(0, at(30us))));
}

TEST(DynamicBatcher, ARequestCancelledWhileItsBatchWaitsIsNotRunAndIsAnsweredCancelled) {
  DynamicBatcher batcher(batching_model(4, {.max_queue_delay = 10us}), 1);
  auto gone = request("gone");
  const auto cancellation = gone.request->cancellation;
  ASSERT_TRUE(batcher.push(request("stays"), at(0us)).ok());
  ASSERT_TRUE(batcher.push(std::move(gone), at(0us)).ok());
  EXPECT_TRUE(std::holds_alternative<WaitUntil>(batcher.next(0, at(1us)))) << "both have been walked";
  cancellation->cancel();
  EXPECT_EQ(ids(batcher.next(0, at(10us))), Ids{"stays"});
  EXPECT_EQ(batcher.next_deadline(), TimePoint::min());
  const auto dropped = batcher.expired(at(10us));
  ASSERT_EQ(dropped.size(), 1u);
  EXPECT_EQ(dropped[0].why.code(), StatusCode::cancelled);
}

TEST(DynamicBatcher, ExpiredFindsCancelledRequestsWithoutANext) {
  DynamicBatcher batcher(batching_model(4), 1);
  auto gone = request("gone");
  const auto cancellation = gone.request->cancellation;
  ASSERT_TRUE(batcher.push(std::move(gone), at(0us)).ok());
  EXPECT_TRUE(batcher.expired(at(0us)).empty());
  cancellation->cancel();
  EXPECT_EQ(batcher.expired(at(0us)).size(), 1u);
  EXPECT_EQ(batcher.size(), 0u);
}

TEST(DynamicBatcher, ClosingMakesEverythingRipeAndNothingLate) {
  DynamicBatcher batcher(batching_model(8, {.max_queue_delay = Micros(1h)}), 1);
  ASSERT_TRUE(batcher.push(request("a", {.deadline = at(5us)}), at(0us)).ok());
  ASSERT_TRUE(batcher.push(request("b"), at(0us)).ok());
  EXPECT_EQ(ids(batcher.next(0, TimePoint::max())), (Ids{"a", "b"}));
  EXPECT_TRUE(waits_for_work(batcher.next(0, TimePoint::max())));
}

TEST(DynamicBatcher, ADelayOrTimeoutBeyondTimeIsNever) {
  DynamicBatcher batcher(batching_model(4, {.max_queue_delay = Micros::max(),
                                            .default_policy = policy(model::TimeoutAction::reject, Micros::max())}),
                         1);
  ASSERT_TRUE(batcher.push(request("a", {.arrived = 7us}), at(7us)).ok());
  EXPECT_EQ(std::get<WaitUntil>(batcher.next(0, at(8us))).when, TimePoint::max());
  EXPECT_EQ(batcher.next_deadline(), TimePoint::max());
}

TEST(DynamicBatcher, OrderCountsAcceptedRequestsFromZero) {
  DynamicBatcher batcher(batching_model(8, {.default_policy = {.max_queue_size = 2}}), 1);
  for (const char* id : {"a", "b"}) ASSERT_TRUE(batcher.push(request(id), at(0us)).ok());
  EXPECT_FALSE(batcher.push(request("refused"), at(0us)).ok());
  auto first = batcher.next(0, at(0us));
  ASSERT_TRUE(batcher.push(request("c"), at(0us)).ok());
  EXPECT_EQ(std::get<RunBatch>(first).items[1].order, 1u);
  EXPECT_EQ(std::get<RunBatch>(batcher.next(0, at(0us))).items[0].order, 2u);
}

TEST(DynamicBatcher, AnInstanceWithABatchUnderWayIsHeldUntilThatIsOverOrAShareIsThere) {
  DynamicBatcher batcher(batching_model(64), 1);
  batcher.pipelines(0);
  const auto push = [&](int count, TimePoint now) {
    for (int i = 0; i < count; ++i) ASSERT_TRUE(batcher.push(request("r"), now).ok());
  };
  push(16, at(0us));
  EXPECT_EQ(ids(batcher.next(0, at(0us))).size(), 16u);
  batcher.ended(0, at(10ms));
  push(16, at(10ms));
  EXPECT_EQ(ids(batcher.next(0, at(10ms))).size(), 16u);
  push(1, at(10ms + 100us));
  EXPECT_TRUE(std::holds_alternative<WaitUntil>(batcher.next(0, at(10ms + 100us))));
  batcher.ended(0, at(20ms));
  EXPECT_EQ(ids(batcher.next(0, at(22ms))).size(), 1u);
  push(1, at(23ms));
  push(63, at(23ms));
  EXPECT_EQ(ids(batcher.next(0, at(23ms))).size(), 64u);
}

}  // namespace
}  // namespace argosy::sched
