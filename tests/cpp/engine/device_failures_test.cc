// Batches on a device that fail: which requests fail with them, what is run again, and
// what becomes of the batches beside them. And pools without room.

#include <numeric>
#include <thread>

#include "engine/device_drive.h"
#include "engine/device_world.h"
#include "metrics/prometheus.h"

namespace argosy::engine {
namespace {

constexpr char kBad = 'X';

bool holds_bad(const backend::Batch& batch) {
  return std::ranges::any_of(batch.requests, [](const auto& request) {
    const auto& data = request->inputs[0].data;
    return std::find(data.data(), data.data() + data.size(), static_cast<std::byte>(kBad)) != data.data() + data.size();
  });
}

struct DeviceFailuresTest : GpuTest {
  const Silence silence;
  std::shared_ptr<Outcomes> outcomes = std::make_shared<Outcomes>(256);
  Latch door, queued;
  ~DeviceFailuresTest() override { engine.reset(); }  // what its work waits for is alive until then

  void send(std::size_t number, std::string bytes = "abc", std::int64_t rows = 1) {
    submit(byte_request(std::move(bytes), rows, number, outcomes));
  }
  // The first batch is one request, held until the door opens: the next ones make one batch.
  void hold_first() {
    world->settings.depth = 1;
    world->work = [this](std::uint64_t number) {
      if (number == 0) door.pass();
    };
    load(gpu_spec());
    send(0);
    while (world->enqueued + world->tried < 1) std::this_thread::yield();
  }
  // The same with full batches of three rows behind it: one of three requests is tried once
  // `queued` is open, and fails for each bad one.
  void hold_first_of_threes() {
    world->settings.depth = 4;
    world->refuse = [this](const backend::Batch& batch) {
      if (batch.requests.size() == 3) queued.pass();
      of_three_rows += batch.rows == 3;
      return holds_bad(batch) ? invalid_argument("bad") : Status();
    };
    world->work = [this](std::uint64_t number) {
      if (number == 0) door.pass();
    };
    auto made = gpu_spec();
    made.max_batch_rows = 3;
    made.batching->preferred_rows = {3};
    made.batching->max_queue_delay = 60s;
    load(made);
    send(0, "abc", 3);
    while (world->enqueued < 1) std::this_thread::yield();
  }
  std::atomic<std::uint64_t> of_three_rows{0};
  std::vector<std::size_t> answered_in_order() { return *outcomes->order.lock(); }
};

std::vector<std::size_t> up_to(std::size_t count) {
  std::vector<std::size_t> numbers(count);
  std::iota(numbers.begin(), numbers.end(), std::size_t{0});
  return numbers;
}

TEST_F(DeviceFailuresTest, ARequestThatCannotBeEnqueuedFailsAlone) {
  open_gpus({});
  world->refuse = [](const backend::Batch& batch) {
    return holds_bad(batch) ? invalid_argument("index out of range") : Status();
  };
  hold_first();
  for (std::size_t i = 1; i < 8; ++i) send(i, i == 4 ? "aXc" : "row");
  door.open();
  outcomes->wait_for(8);
  for (std::size_t i = 0; i < 8; ++i) {
    EXPECT_EQ(outcomes->all[i].whole, i != 4) << i << ": " << outcomes->all[i].status.message();
    EXPECT_EQ(outcomes->all[i].times, 1);
  }
  EXPECT_EQ(outcomes->all[4].status, invalid_argument("index out of range"));
  EXPECT_EQ(answered_in_order(), up_to(8));
  // The lone one, all seven, then 3 and 4, 2 and 2, 1 and 1.
  EXPECT_EQ(world->tried, 1u + 1 + 2 + 2 + 2);
  EXPECT_EQ(statistics().executions, 2u);
}

TEST_F(DeviceFailuresTest, ARequestThatFailsOnTheDeviceFailsAlone) {
  open_gpus({.host = true});
  world->refuse = [this](const backend::Batch& batch) {
    if (holds_bad(batch)) world->weary = 2;  // those that say it has computed and is here
    return Status();
  };
  hold_first();
  for (std::size_t i = 1; i < 8; ++i) send(i, i == 7 || i == 1 ? "X" : "r");
  door.open();
  outcomes->wait_for(8);
  for (std::size_t i = 0; i < 8; ++i) EXPECT_EQ(outcomes->all[i].whole, i != 1 && i != 7) << i;
  EXPECT_EQ(outcomes->all[7].status, internal_error("model 'm': the device is tired"));
  EXPECT_EQ(answered_in_order(), up_to(8));
}

TEST_F(DeviceFailuresTest, AnIdleInstanceIsCalledToRunWhatHasFailed) {
  open_gpus({.host = true});
  world->refuse = [this](const backend::Batch& batch) {
    if (holds_bad(batch)) world->weary = 2;
    return Status();
  };
  // By then the instance has nothing else to do, and waits for requests.
  world->before_wait = [this] { queued.pass(); };
  auto made = gpu_spec();
  made.batching->preferred_rows = {2};
  made.batching->max_queue_delay = 60s;
  load(made);
  send(0, "r");
  send(1, "X");
  while (world->enqueued < 1) std::this_thread::yield();
  queued.open();
  outcomes->wait_for(2);
  EXPECT_TRUE(outcomes->all[0].whole) << outcomes->all[0].status.message();
  EXPECT_FALSE(outcomes->all[1].status.ok());
}

TEST_F(DeviceFailuresTest, BatchesBehindAFailedOneAreEnqueuedOnceAndAnsweredAfterIt) {
  open_gpus({});
  hold_first_of_threes();
  send(1, "r");
  send(2, "X");
  send(3, "r");
  for (std::size_t i = 4; i < 8; ++i) send(i, "def", 3);
  queued.open();
  while (world->enqueued < 2) std::this_thread::yield();  // one behind the failed one
  door.open();
  outcomes->wait_for(8);
  for (std::size_t i = 0; i < 8; ++i) EXPECT_EQ(outcomes->all[i].whole, i != 2) << i;
  EXPECT_EQ(answered_in_order(), up_to(8));
  EXPECT_EQ(of_three_rows, 1u + 1 + 4) << "each batch of three rows once";
}

TEST_F(DeviceFailuresTest, ABrokenDeviceIsAskedOnceAndNotForEachRequest) {
  open_gpus({});
  world->refuse = [this](const backend::Batch& batch) {
    if (!holds_bad(batch)) return Status();
    simulated->set_fail_one_in(1);  // from now on each call fails
    return internal_error("an illegal address was met");
  };
  hold_first();
  for (std::size_t i = 1; i < 8; ++i) send(i, i == 3 ? "X" : "r");
  door.open();
  outcomes->wait_for(8);
  EXPECT_TRUE(outcomes->all[0].whole);
  for (std::size_t i = 1; i < 8; ++i) EXPECT_EQ(outcomes->all[i].status, internal_error("an illegal address was met"));
  EXPECT_EQ(world->tried, 2u);
  // What comes later fails, too, and does not reach the model.
  for (std::size_t i = 8; i < 40; ++i) send(i);
  outcomes->wait_for(40);
  EXPECT_EQ(world->tried, 2u);
  for (std::size_t i = 8; i < 40; ++i) EXPECT_FALSE(outcomes->all[i].status.ok());
  simulated->set_fail_one_in(0);
}

TEST_F(DeviceFailuresTest, ADeviceThatBreaksWhileABatchIsRunInPartsIsLeftAlone) {
  open_gpus({});
  world->refuse = [this](const backend::Batch& batch) {
    if (!holds_bad(batch)) return Status();
    if (batch.requests.size() == 1) simulated->set_fail_one_in(1);
    return internal_error("bad");
  };
  hold_first();
  for (std::size_t i = 1; i < 8; ++i) send(i, i == 1 ? "X" : "r");
  door.open();
  outcomes->wait_for(8);
  // All seven, three of them, the first: nothing else was tried.
  EXPECT_EQ(world->tried, 1u + 1 + 1 + 1);
  for (std::size_t i = 1; i < 8; ++i) EXPECT_EQ(outcomes->all[i].status, internal_error("bad")) << i;
  simulated->set_fail_one_in(0);
}

TEST_F(DeviceFailuresTest, WhatNoRequestIsToBlameForIsNotRunAgain) {
  open_gpus({});
  world->refuse = [](const backend::Batch& batch) {
    return batch.requests.size() > 1 ? resource_exhausted("no memory") : Status();
  };
  hold_first();
  for (std::size_t i = 1; i < 5; ++i) send(i);
  door.open();
  outcomes->wait_for(5);
  EXPECT_EQ(world->tried, 2u);
  for (std::size_t i = 1; i < 5; ++i) EXPECT_EQ(outcomes->all[i].status, resource_exhausted("no memory"));
}

// What failed alone is not run again; no request comes that would make room for itself.
TEST_F(DeviceFailuresTest, AnIdleInstanceGivesTheMemoryOfAFailedBatchBack) {
  open_gpus({.host = true});
  world->refuse = [this](const backend::Batch&) {
    world->weary = 2;  // the events that say it has computed and is here
    return Status();
  };
  // Until the instance waits for requests again, in all likelihood.
  world->before_wait = [] {
    for (int i = 0; i < 20'000; ++i) std::this_thread::yield();
  };
  load(gpu_spec());
  send(0, "X");
  outcomes->wait_for(1);
  EXPECT_FALSE(outcomes->all[0].status.ok());
  const auto used = [this] {
    return open.devices[0].memory->statistics().used_bytes + open.batches->statistics().used_bytes;
  };
  const TimePoint patience = SteadyClock().now() + 60s;
  while (used() > 0 && SteadyClock().now() < patience) std::this_thread::yield();
  EXPECT_EQ(used(), 0u);
}

TEST_F(DeviceFailuresTest, AServerStopsThoughTheDeviceNeverSaysWhatIsOver) {
  open_gpus({});
  world->settings.depth = 4;
  world->refuse = [this](const backend::Batch&) {
    simulated->set_fail_one_in(1, "record");  // work is taken, and nobody learns what becomes of it
    return Status();
  };
  load(gpu_spec());
  for (std::size_t i = 0; i < 8; ++i) send(i);
  outcomes->wait_for(8);
  for (std::size_t i = 0; i < 8; ++i) EXPECT_EQ(outcomes->all[i].status.code(), StatusCode::internal) << i;
  EXPECT_EQ(world->computed, 0u);
  EXPECT_GT(open.devices[0].memory->statistics().used_bytes, 0u) << "it may still be written to";
  engine.reset();
  EXPECT_EQ(open.devices[0].memory->statistics().used_bytes, 0u);
  EXPECT_EQ(open.batches->statistics().used_bytes, 0u);
  EXPECT_EQ(simulated->violations(), std::vector<std::string>{});
}

// Z is held; A is three requests of which the first is bad; B, C and D stand behind them.
struct FailedBatchWithoutRoom : DeviceFailuresTest {
  void run(std::size_t row_of_a, std::size_t row_of_b, std::uint32_t own_one_in) {
    open_gpus({.device_bytes = 256u << 10});
    world->own_one_in = own_one_in;
    hold_first_of_threes();
    for (const std::size_t i : {1u, 2u, 3u}) send(i, std::string(row_of_a, i == 1 ? kBad : 'r'));
    while (world->tried < 2) std::this_thread::yield();
    send(4, std::string(row_of_b * 3, 'b'), 3);
    send(5, "cde", 3);
    send(6, "fgh", 3);
    queued.open();
  }
};

// What B has until it is answered is what two of A's rows need; A itself had less.
TEST_F(FailedBatchWithoutRoom, GetsTheMemoryOfThoseBehindIt) {
  run(40u << 10, 19'114, 1);
  while (world->enqueued < 2) std::this_thread::yield();  // Z and B
  door.open();
  outcomes->wait_for(7);
  for (std::size_t i = 0; i < 7; ++i) {
    EXPECT_EQ(outcomes->all[i].whole, i != 1) << i << ": " << outcomes->all[i].status.message();
  }
  EXPECT_EQ(outcomes->all[1].status, invalid_argument("bad"));
  EXPECT_EQ(answered_in_order(), up_to(7));
}

TEST_F(FailedBatchWithoutRoom, IsRunBeforeOneThatWaitsForRoom) {
  run(16u << 10, 60u << 10, 0);  // B's inputs and outputs are more than there is
  door.open();
  outcomes->wait_for(7);
  for (const std::size_t whole : {0u, 2u, 3u, 5u, 6u}) {
    EXPECT_TRUE(outcomes->all[whole].whole) << whole << ": " << outcomes->all[whole].status.message();
  }
  EXPECT_EQ(outcomes->all[1].status, invalid_argument("bad"));
  EXPECT_EQ(outcomes->all[4].status.code(), StatusCode::resource_exhausted);
  EXPECT_NE(outcomes->all[4].status.message().find("--cuda-memory-pool-byte-size=0:<bytes> sets the limit"),
            std::string::npos)
      << outcomes->all[4].status.message();
  EXPECT_EQ(answered_in_order(), up_to(7));
}

class Warnings final : public LogSink {
 public:
  void write(const LogRecord& record) override {
    if (record.level == LogLevel::warning) lines.lock()->emplace_back(record.message);
  }
  Guarded<std::vector<std::string>> lines;
};

TEST_F(DeviceFailuresTest, AnEmptyPinnedPoolMakesBatchesSlowerNotWrong) {
  const auto warnings = std::make_shared<Warnings>();
  set_log_sink(warnings);
  open_gpus({.pinned_bytes = 2u << 20});
  load(gpu_spec());
  {
    // As answers would that nobody reads.
    const auto all = open.batches->take_at_once(open.batches->statistics().limit_bytes);
    ASSERT_TRUE(all.ok());
    for (std::size_t i = 0; i < 50; ++i) send(i, "number " + std::to_string(i));
    outcomes->wait_for(50);
  }
  for (std::size_t i = 0; i < 50; ++i) EXPECT_TRUE(outcomes->all[i].whole) << outcomes->all[i].status.message();
  const std::uint64_t without = open.batches->done_without();
  EXPECT_GE(without, 2u);
  EXPECT_NE(metrics::prometheus_text(metrics->collect())
                .find("\nargosy_pinned_memory_pool_fallbacks_total " + std::to_string(without) + "\n"),
            std::string::npos);
  const std::vector<std::string> lines = *warnings->lines.lock();
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_NE(lines[0].find("--pinned-memory-pool-byte-size sets the limit; ordinary memory is used instead"),
            std::string::npos)
      << lines[0];
  // With room again, nothing does without.
  for (std::size_t i = 50; i < 60; ++i) send(i);
  outcomes->wait_for(60);
  EXPECT_EQ(open.batches->done_without(), without);
}

}  // namespace
}  // namespace argosy::engine
