#include "engine/engine.h"

#include <unistd.h>

#include <barrier>
#include <thread>

#include "engine/engine_fixture.h"
#include "metrics/prometheus.h"

namespace argosy::engine {
namespace {

TEST_F(EngineTest, AnswersWithTheRequestsOwnData) {
  load(spec());
  for (int i = 0; i < 100; ++i) submit(request(i, answers));
  answers->wait_for(100);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(value_of(answers->of(i).response), i);
  EXPECT_EQ(answers->most_times(), 1u);
}

TEST_F(EngineTest, NamesWhatIsNotThere) {
  EXPECT_EQ(engine->find("m").status().message(), "Request for unknown model: 'm' is not found");
  load(spec());
  EXPECT_EQ(engine->find("m", 9).status().message(), "Request for unknown model: 'm' version 9 is not found");
  EXPECT_TRUE(engine->unload("m").ok());
  EXPECT_EQ(engine->find("m").status().message(), "Request for unknown model: 'm' has no available versions");
  EXPECT_EQ(engine->find("m", 1).status(),
            unavailable("Request for unknown model: 'm' version 1 is not at ready state"));
  EXPECT_EQ(engine->find("m", 9).status().message(), "Request for unknown model: 'm' version 9 is not found");
  EXPECT_EQ(engine->statistics("m").status(), invalid_argument("requested model 'm' is not available"));
  EXPECT_TRUE(engine->unload("never loaded").ok());
}

TEST_F(EngineTest, FindsTheNewestVersion) {
  auto first = spec(), second = spec();
  second.version = 10;
  ASSERT_TRUE(engine->load("m", {second, first}).ok());
  EXPECT_EQ(spec_of(*engine->find("m")).version, 10);
  EXPECT_EQ(spec_of(*engine->find("m", 1)).version, 1);
}

TEST_F(EngineTest, BatchesWhatCameWhileTheInstanceWasBusy) {
  load(spec("m", "held"));
  submit(request(0, answers));
  door->wait_inside(1);
  for (int i = 1; i <= 16; ++i) submit(request(i, answers));
  door->open();
  answers->wait_for(17);
  const auto sums = statistics();
  EXPECT_EQ(sums.executions, 3u);
  EXPECT_EQ(sums.batches.at(1).compute_infer.count, 1u);
  EXPECT_EQ(sums.batches.at(8).compute_infer.count, 2u);
}

TEST_F(EngineTest, ASleepingInstanceIsWokenOnceForAllThatWasSubmitted) {
  load(spec());
  const auto model = *engine->find("m");
  OwedWakes owed;
  // The second round finds the instance asleep again, or on its way there.
  for (std::int32_t round = 0; round < 3; ++round) {
    std::size_t before = answers->count();
    for (std::int32_t i = 0; i < 8; ++i) engine->submit(model, request(round * 8 + i, answers), &owed);
    owed.pay();
    EXPECT_FALSE(owed.any());
    answers->wait_for(before + 8);
  }
  EXPECT_EQ(answers->most_times(), 1u);
}

TEST_F(EngineTest, WhatIsOwedTooLongIsPaidByTheNextSubmit) {
  load(spec());
  const auto model = *engine->find("m");
  OwedWakes owed;
  for (std::int32_t i = 0; answers->count() == 0; ++i) engine->submit(model, request(i, answers), &owed);
  owed.pay();
}

TEST_F(EngineTest, ADeadlineIsKeptWhileTheOnlyInstanceIsBusy) {
  load(spec("m", "held"));
  submit(request(0, answers));
  door->wait_inside(1);
  // A busy machine wakes everybody late now and then, but not each time.
  Nanos late_by = Nanos::max();
  std::size_t tries = 0;
  while (++tries < 8 && late_by >= 5ms) {
    auto late = request(static_cast<std::int32_t>(tries), answers);
    late->timeout_us = 100'000;
    const TimePoint due = late->timings.received + 100ms;
    submit(std::move(late));
    const Answer answer = answers->of(static_cast<std::int64_t>(tries));
    EXPECT_EQ(answer.response.status, unavailable("Request timeout expired"));
    EXPECT_GE(answer.when, due);
    late_by = std::min(late_by, Nanos(answer.when - due));
    EXPECT_EQ(answers->count(), tries);
  }
  EXPECT_LT(late_by, 50ms);
}

TEST_F(EngineTest, AnEarlierDeadlineReArmsTheTimer) {
  load(spec("m", "held"));
  submit(request(0, answers));
  door->wait_inside(1);
  auto later = request(1, answers), sooner = request(2, answers);
  later->timeout_us = 60'000'000;
  sooner->timeout_us = 100'000;
  const TimePoint due = later->timings.received + 60s;
  submit(std::move(later));
  submit(std::move(sooner));
  EXPECT_LT(answers->of(2).when, due);
  EXPECT_EQ(answers->order(), std::vector<std::int64_t>{2});
}

TEST_F(EngineTest, ACancelledRequestIsAnsweredAtOnceAndNeverRuns) {
  load(spec("m", "held"));
  submit(request(0, answers));
  door->wait_inside(1);
  auto queued = request(1, answers);
  const auto cancellation = std::make_shared<infer::Cancellation>();
  queued->cancellation = cancellation;
  submit(std::move(queued));
  cancellation->cancel();
  EXPECT_EQ(answers->of(1).response.status.code(), StatusCode::cancelled);
  door->open();
  answers->wait_for(2);
  EXPECT_EQ(statistics().executions, 1u);

  auto before = request(2, answers);
  before->cancellation = cancellation;
  submit(std::move(before));
  EXPECT_EQ(answers->of(2).response.status.code(), StatusCode::cancelled);
}

TEST_F(EngineTest, MaxQueueSizeIsExactUnderRacingClients) {
  constexpr int kClients = 64;
  constexpr std::uint32_t kSize = 7;
  auto bounded = spec("m", "held");
  bounded.batching->default_policy.max_queue_size = kSize;
  load(std::move(bounded));
  submit(request(0, answers));
  door->wait_inside(1);
  {
    std::barrier together(kClients);
    std::vector<std::jthread> clients;
    for (int i = 1; i <= kClients; ++i) {
      clients.emplace_back([&, i] {
        together.arrive_and_wait();
        submit(request(i, answers));
      });
    }
  }
  EXPECT_EQ(answers->count(), kClients - kSize);
  door->open();
  answers->wait_for(kClients + 1);
  int refused = 0;
  for (int i = 0; i <= kClients; ++i) {
    const auto response = answers->of(i).response;
    if (response.status.ok()) continue;
    ++refused;
    EXPECT_EQ(response.status, unavailable("[request id: " + std::to_string(i) + "] Exceeds maximum queue size"));
  }
  EXPECT_EQ(refused, kClients - static_cast<int>(kSize));
}

TEST_F(EngineTest, QueuedBytesAreBoundedServerWide) {
  start({.max_queued_bytes = 8});
  load(spec("m", "held"));
  load(spec("other", "held"));
  submit(request(0, answers));
  door->wait_inside(1);
  submit(request(1, answers));
  submit(request(2, answers));
  submit(request(3, answers), "other");
  const Status status = answers->of(3).response.status;
  EXPECT_EQ(status.code(), StatusCode::resource_exhausted);
  EXPECT_NE(status.message().find("--max-queued-bytes is 8"), std::string::npos) << status.message();
  door->open();
  answers->wait_for(4);
}

TEST_F(EngineTest, TwoInstancesRunTwoRequestsAtOnce) {
  auto two = spec("m", "held");
  two.batching.reset();
  two.instances[0].count = 2;
  load(std::move(two));
  submit(request(0, answers));
  submit(request(1, answers));
  door->wait_inside(2);
  door->open();
  answers->wait_for(2);
}

TEST_F(EngineTest, KeepsArrivalOrderAcrossInstancesWhenAsked) {
  auto ordered = spec();
  ordered.batching->preserve_ordering = true;
  ordered.max_batch_rows = 2;
  ordered.instances[0].count = 3;
  load(std::move(ordered));
  std::vector<std::int64_t> expected;
  for (int i = 0; i < 2000; ++i) {
    submit(request(i, answers));
    expected.push_back(i);
  }
  answers->wait_for(2000);
  EXPECT_EQ(answers->order(), expected);
}

TEST_F(EngineTest, WaitsForCompanyUntilTheDelayAndNoLonger) {
  std::int32_t first = 0;
  // Those that a busy machine keeps apart for the whole delay run apart: then once more, with a longer one.
  for (const Micros delay : {Micros(100ms), Micros(1s), Micros(10s)}) {
    const std::string name = "waits_" + std::to_string(delay.count());
    auto patient = spec(name);
    patient.batching->max_queue_delay = delay;
    patient.instances[0].count = 3;
    load(std::move(patient));
    const TimePoint due = clock.now() + delay;
    for (std::int32_t i = 0; i < 3; ++i) submit(request(first + i, answers), name);
    const bool in_time = clock.now() < due;
    answers->wait_for(static_cast<std::size_t>(first) + 3);
    EXPECT_GE(answers->of(first).when, due);
    first += 3;
    if (!in_time) continue;
    EXPECT_EQ(statistics(name).executions, 1u);
    return;
  }
  FAIL() << "three requests took ten seconds to be submitted";
}

TEST_F(EngineTest, AFullBatchDoesNotWaitForTheDelay) {
  auto patient = spec();
  patient.batching->max_queue_delay = 600s;
  patient.instances[0].count = 3;
  load(std::move(patient));
  for (int i = 0; i < 8; ++i) submit(request(i, answers));  // 8 rows: ripe at once
  answers->wait_for(8);
  EXPECT_EQ(statistics().executions, 1u);
}

TEST_F(EngineTest, AReloadUnderLoadLosesNothing) {
  load(spec());
  std::atomic<bool> done{false};
  std::vector<std::jthread> clients;
  std::atomic<int> next{0};
  for (int c = 0; c < 4; ++c) {
    clients.emplace_back([&] {
      while (!done) {
        // Not more than the engine keeps up with, however long this test is kept from running.
        if (static_cast<std::size_t>(next) < answers->count() + 1000) {
          submit(request(next++, answers));
        } else {
          std::this_thread::yield();
        }
      }
    });
  }
  for (int i = 0; i < 20; ++i) {
    const int before = next;
    while (next < before + 10) std::this_thread::yield();
    load(spec());
  }
  done = true;
  clients.clear();
  answers->wait_for(static_cast<std::size_t>(next));
  EXPECT_EQ(answers->most_times(), 1u);
  for (int i = 0; i < next; ++i) {
    const auto response = answers->of(i).response;
    ASSERT_TRUE(response.status.ok()) << response.status.message();
    ASSERT_EQ(value_of(response), i);
  }
}

TEST_F(EngineTest, AHeldHandleServesAfterTheSwapAndUnloadDrains) {
  load(spec("m", "held"));
  auto handle = *engine->find("m");
  submit(request(0, answers));
  door->wait_inside(1);
  ASSERT_TRUE(engine->unload("m").ok());
  engine->submit(handle, request(1, answers));
  handle.reset();
  EXPECT_EQ(engine->in_flight(), 2u);
  door->open();
  answers->wait_for(2);
  EXPECT_TRUE(answers->of(0).response.status.ok());
  EXPECT_TRUE(answers->of(1).response.status.ok());
}

TEST_F(EngineTest, AFailingLoadLeavesTheOldOneServing) {
  load(spec());
  auto bad = spec();
  bad.outputs[0].dtype = tensor::DType::fp32;
  const Status status = engine->load("m", {bad});
  EXPECT_EQ(status, invalid_argument("version 1 is at UNAVAILABLE state: backend 'identity': model 'm': output "
                                     "'OUTPUT0' is FP32, but input 'INPUT0' is INT32;"));
  submit(request(0, answers));
  EXPECT_TRUE(answers->of(0).response.status.ok());
}

TEST_F(EngineTest, RefusesAGpuThatIsNotThere) {
  auto gpu = spec();
  gpu.instances[0].kind = model::InstanceKind::gpu;
  const Status status = engine->load("m", {gpu});
  const std::string why = device::built_with_cuda() ? "found no GPU" : "was built without CUDA";
  EXPECT_NE(status.message().find("KIND_GPU, and this server " + why), std::string::npos) << status.message();
}

TEST_F(EngineTest, TellsWhichInstanceIsUnhealthy) {
  door->health = unavailable("lost its worker");
  load(spec("m", "held"));
  EXPECT_EQ(health_of(*engine->find("m")), unavailable("lost its worker"));
  EXPECT_EQ(engine->list().front().health, unavailable("lost its worker"));
}

TEST_F(EngineTest, StopsTwiceAndRefusesAfter) {
  load(spec());
  const auto handle = *engine->find("m");
  EXPECT_TRUE(engine->stop(clock.now() + 60s));
  EXPECT_TRUE(engine->stop(clock.now() + 60s));
  engine->submit(handle, request(0, answers));
  EXPECT_EQ(answers->of(0).response.status,
            unavailable("Server is stopping, scheduler for model has stopped accepting new inference requests"));
  EXPECT_FALSE(engine->load("m", {spec()}).ok());
}

TEST_F(EngineTest, StopAnswersWhatDidNotFinishInTime) {
  auto slow = spec();
  slow.parameters["execute_delay_ms"] = "60000";
  load(std::move(slow));
  for (int i = 0; i < 20; ++i) {
    auto one = request(i, answers);
    one->cancellation = std::make_shared<infer::Cancellation>();
    submit(std::move(one));
  }
  EXPECT_FALSE(engine->stop(clock.now() + 20ms));
  EXPECT_EQ(answers->count(), 20u);
  EXPECT_EQ(answers->most_times(), 1u);
}

TEST_F(EngineTest, StatisticsAddUpAndIncludeWhoeverHasAnAnswer) {
  load(spec());
  for (int i = 0; i < 50; ++i) {
    submit(request(i, answers));
    answers->of(i);
    const auto now = statistics();
    ASSERT_EQ(now.success.count, static_cast<std::uint64_t>(i + 1));
    ASSERT_EQ(now.queue.count, now.success.count);
  }
  auto wrong = request(50, answers);
  wrong->inputs[0].name = "NO";
  submit(std::move(wrong));
  const auto sums = statistics();
  EXPECT_EQ(sums.inferences, 50u);
  EXPECT_EQ(sums.compute_infer.count, 50u);
  EXPECT_EQ(sums.fail.count, 1u);
  std::uint64_t rows = 0, batches = 0;
  for (const auto& [size, batch] : sums.batches) {
    rows += size * batch.compute_infer.count;
    batches += batch.compute_infer.count;
  }
  EXPECT_EQ(rows, sums.inferences);
  EXPECT_EQ(batches, sums.executions);
  EXPECT_GE(sums.success.ns, sums.queue.ns + sums.compute_input.ns + sums.compute_infer.ns + sums.compute_output.ns);
}

TEST_F(EngineTest, MetricsStartAtZeroFollowTheStatisticsAndGoWithTheModel) {
  auto tagged = spec();
  tagged.metric_tags["team"] = "a\"b";
  load(std::move(tagged));
  const auto text = [&] { return metrics::prometheus_text(metrics->collect()); };
  const auto has = [&](const std::string& line) { return text().find(line + "\n") != std::string::npos; };
  const std::string labels = R"(model="m",version="1",_team="a\"b")";
  EXPECT_TRUE(has("nv_inference_request_success{" + labels + "} 0")) << text();
  for (const char* reason : {"REJECTED", "CANCELED", "BACKEND", "OTHER"}) {
    EXPECT_TRUE(has("nv_inference_request_failure{" + labels + ",reason=\"" + reason + "\"} 0"));
  }
  submit(request(0, answers));
  answers->of(0);
  EXPECT_TRUE(has("nv_inference_request_success{" + labels + "} 1"));
  EXPECT_TRUE(has("nv_inference_count{" + labels + "} 1"));
  EXPECT_TRUE(has("argosy_batch_rows_count{" + labels + "} 1"));
  EXPECT_TRUE(engine->unload("m").ok());
  EXPECT_EQ(text().find("model=\"m\""), std::string::npos);
}

TEST_F(EngineTest, WarmsUpBeforeServingOutsideTheStatistics) {
  auto warm = spec();
  warm.warmup = {{"zeros", 3, 2, {{"INPUT0", tensor::DType::int32, {1}}}},
                 {"random", 1, 1, {{"INPUT0", tensor::DType::int32, {1}, model::WarmupInput::Source::random, ""}}}};
  load(std::move(warm));
  EXPECT_EQ(statistics().executions, 0u);
}

TEST_F(EngineTest, AWarmupThatDoesNotFitFailsTheLoad) {
  auto open = spec();
  open.inputs[0].dims = {-1};
  open.outputs[0].dims = {-1};
  open.warmup = {{"s", 1, 1, {{"INPUT0", tensor::DType::int32, {-1}}}}};
  EXPECT_NE(
      engine->load("m", {open})
          .message()
          .find("failed to run warmup sample 's': warmup setting expects all variable-size dimensions are specified "
                "for input 'INPUT0'"),
      std::string::npos);
  auto missing = spec();
  const std::string path = testing::TempDir() + "short_warmup_" + std::to_string(getpid());
  FILE* file = fopen(path.c_str(), "w");
  fputs("ab", file);
  fclose(file);
  missing.warmup = {{"s", 1, 1, {{"INPUT0", tensor::DType::int32, {1}, model::WarmupInput::Source::file, path}}}};
  const Status status = engine->load("m", {missing});
  EXPECT_NE(status.message().find("expects 4 bytes, but the data provided from " + path + " only has 2 bytes"),
            std::string::npos)
      << status.message();
}

}  // namespace
}  // namespace argosy::engine
