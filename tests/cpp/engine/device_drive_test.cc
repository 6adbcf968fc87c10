#include "engine/device_drive.h"

#include <numeric>
#include <thread>

#include "device/pinned_bytes_pool.h"
#include "engine/device_world.h"
#include "metrics/prometheus.h"

namespace argosy::engine {
namespace {

using device::Pace;

struct DeviceDriveTest : GpuTest {
  std::shared_ptr<Outcomes> outcomes = std::make_shared<Outcomes>(256);
  void send(std::size_t number, std::string bytes = "abc") {
    submit(byte_request(std::move(bytes), 1, number, outcomes));
  }
};

TEST_F(DeviceDriveTest, AnswersEachRequestWithItsOwnBytes) {
  open_gpus({});
  load(gpu_spec());
  for (std::size_t i = 0; i < 20; ++i) send(i, "number " + std::to_string(i));
  outcomes->wait_for(20);
  for (std::size_t i = 0; i < 20; ++i) {
    EXPECT_TRUE(outcomes->all[i].whole) << i << ": " << outcomes->all[i].status.message();
  }
  EXPECT_EQ(world->executed, 0u);
  EXPECT_EQ(statistics().inferences, 20u);
}

TEST_F(DeviceDriveTest, StartsABatchWhileAnotherIsUnderWay) {
  open_gpus({});
  Latch second;
  std::atomic<bool> passed{true};
  world->work = [&](std::uint64_t number) {
    if (number == 0 && !second.pass()) passed = false;
    if (number == 1) return;
  };
  auto made = gpu_spec();
  made.batching.reset();  // a request is a batch
  load(made);
  for (std::size_t i = 0; i < 2; ++i) send(i);
  // The first is computed only when the second was enqueued behind it.
  while (world->enqueued < 2) std::this_thread::yield();
  second.open();
  outcomes->wait_for(2);
  EXPECT_TRUE(passed);
  EXPECT_GE(world->overlapping, 1u);
  EXPECT_TRUE(outcomes->all[0].whole && outcomes->all[1].whole);
}

TEST_F(DeviceDriveTest, TakesNoMoreThanItsDepth) {
  open_gpus({});
  Latch door;
  world->settings.depth = 2;
  world->work = [&](std::uint64_t) { door.pass(); };
  auto made = gpu_spec();
  made.batching.reset();
  load(made);
  for (std::size_t i = 0; i < 6; ++i) send(i);
  while (world->enqueued < 2) std::this_thread::yield();
  // Four are queued and stay there: a third batch would have nothing to wait for.
  EXPECT_EQ(engine->in_flight(), 6u);
  auto queued = byte_request("abc", 1, 6, outcomes);
  queued->cancellation = std::make_shared<infer::Cancellation>();
  const auto cancellation = queued->cancellation;
  submit(std::move(queued));
  cancellation->cancel();
  outcomes->wait_for(1);
  EXPECT_EQ(outcomes->all[6].status.code(), StatusCode::cancelled);
  EXPECT_EQ(world->enqueued, 2u);
  door.open();
  outcomes->wait_for(7);
}

TEST_F(DeviceDriveTest, AThirdBatchIsNotTakenWhileOthersCouldJoinIt) {
  open_gpus({});
  Latch door;
  world->work = [&](std::uint64_t) { door.pass(); };
  load(gpu_spec());
  for (std::size_t i = 0; i < 2; ++i) {
    send(i);
    while (world->enqueued < i + 1) std::this_thread::yield();
  }
  for (std::size_t i = 2; i < 5; ++i) send(i);
  door.open();
  outcomes->wait_for(5);
  EXPECT_EQ(statistics().executions, 3u);
}

TEST_F(DeviceDriveTest, AFailedBatchFailsAloneAndInItsTurn) {
  const Silence silence;
  open_gpus({});
  world->fail_one_in = 5;
  auto made = gpu_spec();
  made.batching.reset();
  load(made);
  for (std::size_t i = 0; i < 200; ++i) send(i, std::string(1 + i % 7, static_cast<char>(i)));
  outcomes->wait_for(200);
  std::size_t good = 0;
  for (std::size_t i = 0; i < 200; ++i) {
    const Outcome& one = outcomes->all[i];
    EXPECT_EQ(one.times, 1);
    good += one.whole;
    EXPECT_EQ(one.whole, one.status.ok());
    if (!one.status.ok()) {
      EXPECT_TRUE(one.status.message() == "dice" || one.status.message() == "model 'm': dice");
    }
  }
  EXPECT_GT(good, 50u);
  EXPECT_LT(good, 200u);
  std::vector<std::size_t> expected(200);
  std::iota(expected.begin(), expected.end(), std::size_t{0});
  EXPECT_EQ(*outcomes->order.lock(), expected);
}

TEST_F(DeviceDriveTest, WorkThatFailsOnTheDeviceFailsItsOwnBatchAlone) {
  const Silence silence;
  open_gpus({.fail_wait = 10});  // a batch makes three events
  auto made = gpu_spec();
  made.batching.reset();
  load(made);
  for (std::size_t i = 0; i < 100; ++i) send(i, "number " + std::to_string(i));
  outcomes->wait_for(100);
  std::size_t good = 0;
  for (std::size_t i = 0; i < 100; ++i) {
    const Outcome& one = outcomes->all[i];
    good += one.whole;
    EXPECT_EQ(one.status, one.whole ? Status() : internal_error("model 'm': the device is tired"));
  }
  EXPECT_GT(good, 50u);
  EXPECT_LT(good, 100u);
}

TEST_F(DeviceDriveTest, UnloadAnswersWhatIsUnderWayAndThenTakesTheInstanceApart) {
  open_gpus({});
  Latch door;
  world->work = [&](std::uint64_t) { door.pass(); };
  auto made = gpu_spec();
  made.batching.reset();
  load(made);
  for (std::size_t i = 0; i < 8; ++i) send(i);
  while (world->enqueued < 3) std::this_thread::yield();
  ASSERT_TRUE(engine->unload("m").ok());
  EXPECT_TRUE(engine->draining("m"));
  EXPECT_EQ(world->alive, 1u);
  door.open();
  outcomes->wait_for(8);
  for (std::size_t i = 0; i < 8; ++i) EXPECT_TRUE(outcomes->all[i].whole) << outcomes->all[i].status.message();
  while (world->alive > 0) std::this_thread::yield();
  while (engine->draining("m")) std::this_thread::yield();
  EXPECT_EQ(open.devices[0].memory->statistics().used_bytes, 0u);
}

TEST_F(DeviceDriveTest, TellsRequestsThatRunWhenTheServersTimeIsUp) {
  const Silence silence;
  open_gpus({});
  const auto cancellation = std::make_shared<infer::Cancellation>();
  world->work = [&](std::uint64_t) {
    const TimePoint patience = SteadyClock().now() + 60s;
    while (!cancellation->cancelled() && SteadyClock().now() < patience) std::this_thread::yield();
  };
  load(gpu_spec());
  auto one = byte_request("abc", 1, 0, outcomes);
  one->cancellation = cancellation;
  submit(std::move(one));
  while (world->enqueued < 1) std::this_thread::yield();
  EXPECT_FALSE(engine->stop(clock.now() + 20ms));
  EXPECT_TRUE(cancellation->cancelled());
  EXPECT_EQ(outcomes->all[0].times, 1);
}

TEST_F(DeviceDriveTest, WaitsForTheMemoryOfOtherBatchesInsteadOfFailing) {
  // Batches of two sizes, so that none finds a block of another; two do not fit together.
  open_gpus({.device_bytes = 256u << 10});
  world->settings.depth = 4;
  world->own_one_in = 0;
  const auto refused = [this] { return open.devices[0].memory->statistics().refused; };
  world->work = [&](std::uint64_t number) {
    const TimePoint patience = SteadyClock().now() + 60s;
    while (number == 0 && refused() == 0 && SteadyClock().now() < patience) std::this_thread::yield();
  };
  auto made = gpu_spec();
  made.batching.reset();
  load(made);
  for (std::size_t i = 0; i < 40; ++i) send(i, std::string(i % 2 == 0 ? 64u << 10 : 96u << 10, static_cast<char>(i)));
  outcomes->wait_for(40);
  for (std::size_t i = 0; i < 40; ++i) EXPECT_TRUE(outcomes->all[i].whole) << outcomes->all[i].status.message();
  EXPECT_GT(refused(), 0u);
}

TEST_F(DeviceDriveTest, WarmsUpThroughTheDevice) {
  open_gpus({});
  auto made = gpu_spec();
  made.warmup = {{"w", 3, 2, {{"INPUT0", tensor::DType::uint8, {5}}}}};
  load(made);
  EXPECT_EQ(world->enqueued, 2u);
  EXPECT_EQ(world->computed, 2u);
  EXPECT_EQ(statistics().executions, 0u);
}

TEST_F(DeviceDriveTest, AFailedWarmUpFailsTheLoadByName) {
  const Silence silence;
  open_gpus({});
  world->fail_one_in = 1;
  auto made = gpu_spec();
  made.warmup = {{"w", 1, 1, {{"INPUT0", tensor::DType::uint8, {5}}}}};
  EXPECT_NE(engine->load("m", {made}).message().find("failed to run warmup sample 'w': dice"), std::string::npos);
  EXPECT_EQ(world->alive, 0u);
}

TEST_F(DeviceDriveTest, CountsTimesOfEachStage) {
  open_gpus({});
  world->work = [this](std::uint64_t) {
    const TimePoint end = clock.now() + 2ms;
    while (clock.now() < end) std::this_thread::yield();
  };
  load(gpu_spec());
  for (std::size_t i = 0; i < 4; ++i) send(i);
  outcomes->wait_for(4);
  const ModelStatistics counted = statistics();
  EXPECT_EQ(counted.success.count, 4u);
  for (const auto& part : {counted.queue, counted.compute_input, counted.compute_infer, counted.compute_output}) {
    EXPECT_EQ(part.count, 4u);
  }
  EXPECT_GE(counted.compute_infer.ns, 4u * 2'000'000u);
  EXPECT_GT(counted.compute_input.ns, 0u);
}

TEST_F(DeviceDriveTest, InstancesOnAllGpusShareOneLoadedModel) {
  open_gpus({.count = 2});
  auto made = gpu_spec();
  made.instances[0].count = 2;
  load(made);
  EXPECT_EQ(world->loads, 1u);
  EXPECT_EQ(world->instances, 4u);
  for (std::size_t i = 0; i < 100; ++i) send(i);
  outcomes->wait_for(100);
  for (std::size_t i = 0; i < 100; ++i) EXPECT_TRUE(outcomes->all[i].whole);
}

TEST_F(DeviceDriveTest, WhatAGpuDidHasItsUuidAndWhatRanOnNoneHasNot) {
  open_gpus({.count = 2});
  auto made = gpu_spec();
  made.batching.reset();
  made.instances[0].gpus = {1};
  load(made);
  for (std::size_t i = 0; i < 3; ++i) send(i);
  outcomes->wait_for(3);
  submit(byte_request("abc", 2, 3, outcomes));  // two rows of unequal length: does not fit the model
  outcomes->wait_for(4);
  const std::string page = metrics::prometheus_text(metrics->collect());
  const auto has = [&](const std::string& line) {
    EXPECT_NE(page.find("\n" + line + "\n"), std::string::npos) << line << " is not in\n" << page;
  };
  has(R"(nv_inference_request_success{model="m",version="1"} 0)");
  has(R"(nv_inference_request_success{model="m",version="1",gpu_uuid="GPU-1"} 3)");
  has(R"(nv_inference_exec_count{model="m",version="1",gpu_uuid="GPU-1"} 3)");
  has(R"(nv_inference_request_failure{model="m",version="1",reason="OTHER"} 1)");
  has(R"(nv_inference_request_failure{model="m",version="1",gpu_uuid="GPU-1",reason="BACKEND"} 0)");
  EXPECT_NE(page.find(R"(nv_inference_queue_duration_us{model="m",version="1",gpu_uuid="GPU-1"})"), std::string::npos);
  EXPECT_EQ(page.find("GPU-0"), std::string::npos);
}

TEST_F(DeviceDriveTest, NamesTheGpusThereAreWhenOneIsNot) {
  const Silence silence;
  open_gpus({.count = 2});
  auto made = gpu_spec();
  made.instances[0].gpus = {1, 4};
  EXPECT_NE(engine->load("m", {made}).message().find("asks for GPU 4, and this server has 0, 1"), std::string::npos);
}

TEST_F(DeviceDriveTest, AnInstanceThatCannotEnqueueIsExecuted) {
  open_gpus({});
  load(gpu_spec("passive"));
  for (std::size_t i = 0; i < 10; ++i) send(i);
  outcomes->wait_for(10);
  for (std::size_t i = 0; i < 10; ++i) EXPECT_TRUE(outcomes->all[i].whole);
  EXPECT_GE(world->executed, 1u);
  EXPECT_EQ(world->enqueued, 0u);
}

TEST_F(DeviceDriveTest, PoolsAreOnThePageOfMetricsOnlyWithADevice) {
  EXPECT_EQ(metrics::prometheus_text(metrics->collect()).find("memory_pool"), std::string::npos);
  open_gpus({.pinned_bytes = 1001, .device_bytes = 500});
  const std::string page = metrics::prometheus_text(metrics->collect());
  EXPECT_NE(page.find("# HELP nv_pinned_memory_pool_total_bytes "), std::string::npos);
  EXPECT_NE(page.find("\nnv_pinned_memory_pool_total_bytes 1001\n"), std::string::npos) << page;
  EXPECT_NE(page.find("\nnv_pinned_memory_pool_used_bytes 0\n"), std::string::npos);
  EXPECT_NE(page.find("\nargosy_device_memory_pool_total_bytes{gpu=\"0\"} 500\n"), std::string::npos);
}

// The law, on devices that do late what they may do late: whatever fails, every request
// is answered exactly once, an ok answer is its own, and no memory is kept.
struct DeviceDriveProperty : GpuTest, testing::WithParamInterface<unsigned> {
  std::shared_ptr<Outcomes> outcomes;
};

TEST_P(DeviceDriveProperty, EveryRequestIsAnsweredOnceAndWithItsOwnBytes) {
  const unsigned seed = GetParam();
  SCOPED_TRACE("seed " + std::to_string(seed));
  const Silence silence;
  world->seed = seed;
  world->settings.depth = 1 + seed % 4;
  if (seed % 3 == 0) world->settings.allowed_rows = {1, 2, 4, 8};
  world->fail_one_in = seed % 4 == 0 ? 20 : 0;
  const auto bad = [](std::size_t number) { return number % 13 == 5; };
  world->refuse = [&](const backend::Batch& batch) {
    const bool any = std::ranges::any_of(batch.requests, [&](const auto& one) { return bad(std::stoul(one->id)); });
    return any ? invalid_argument("bad") : Status();
  };
  constexpr Pace kPaces[] = {Pace::late, Pace::seeded, Pace::free};
  open_gpus({.pace = kPaces[seed % 3], .device_bytes = seed % 4 == 3 ? std::size_t{512} << 10 : std::size_t{8} << 20});
  const bool ordered = seed % 5 == 0;
  auto made = gpu_spec();
  made.instances[0].count = 1 + seed % 2;
  made.batching->preserve_ordering = ordered;
  load(made);
  const bool trouble = seed % 4 == 1;
  if (trouble) simulated->set_fail_one_in(300);

  constexpr std::size_t kClients = 3, kEach = 120;
  outcomes = std::make_shared<Outcomes>(kClients * kEach);
  device::PinnedBytesPool received(open.received, default_pool(), 1024);
  {
    const ModelHandle handle = *engine->find("m");  // serves also after the unloading
    std::vector<std::jthread> clients;
    for (std::size_t c = 0; c < kClients; ++c) {
      clients.emplace_back([&, c] {
        std::mt19937 dice(seed * 31 + static_cast<unsigned>(c));
        std::vector<std::shared_ptr<infer::Cancellation>> cancellations;
        for (std::size_t i = 0; i < kEach; ++i) {
          const std::int64_t rows = 1 + dice() % 4;
          const std::size_t width = dice() % 20 == 0 ? 70'000 : 1 + dice() % 3;
          std::string bytes(static_cast<std::size_t>(rows) * width, '\0');
          for (char& byte : bytes) byte = static_cast<char>(dice());
          auto one = byte_request(std::move(bytes), rows, c * kEach + i, outcomes, received);
          if (dice() % 4 == 0) cancellations.push_back(one->cancellation = std::make_shared<infer::Cancellation>());
          if (dice() % 8 == 0) one->timeout_us = 1 + dice() % 5000;
          engine->submit(handle, std::move(one));
          if (!cancellations.empty() && dice() % 3 == 0) cancellations[dice() % cancellations.size()]->cancel();
          if (dice() % 16 == 0) outcomes->wait_for(std::min(kClients * kEach / 2, i));
        }
      });
    }
    if (seed % 3 == 1 && !trouble) load(made);
    if (seed % 6 == 2) {
      EXPECT_TRUE(engine->unload("m").ok());
    }
  }
  engine->stop(clock.now() + 60s);
  simulated->set_fail_one_in(0);

  const bool something_else_fails = trouble || world->fail_one_in > 0;
  std::size_t good = 0;
  for (std::size_t i = 0; i < outcomes->all.size(); ++i) {
    const Outcome& one = outcomes->all[i];
    ASSERT_EQ(one.times, 1);
    ASSERT_EQ(one.status.ok(), one.whole) << one.status.message();
    good += one.whole;
    if (bad(i)) {
      EXPECT_FALSE(one.whole);
    } else if (!something_else_fails) {
      EXPECT_NE(one.status.code(), StatusCode::invalid_argument) << "it fails for another's fault";
      EXPECT_NE(one.status.code(), StatusCode::internal) << one.status.message();
    }
  }
  EXPECT_EQ(engine->in_flight(), 0u);
  EXPECT_EQ(world->alive, 0u);
  if (seed % 6 != 2) {
    EXPECT_GT(good, kClients * kEach / 10);
  }
  EXPECT_EQ(open.received->statistics().used_bytes, 0u);
}

INSTANTIATE_TEST_SUITE_P(Seeds, DeviceDriveProperty, testing::Range(0u, 12u));

}  // namespace
}  // namespace argosy::engine
