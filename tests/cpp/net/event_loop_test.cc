#include "net/event_loop.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <thread>

#include "net/socket.h"

namespace argosy::net {
namespace {

using namespace std::chrono_literals;

class Loop : public ::testing::Test {
 protected:
  Loop() : loop_(std::move(*EventLoop::create(clock_))) { EXPECT_TRUE(loop_->start("test").ok()); }
  SteadyClock clock_;
  std::unique_ptr<EventLoop> loop_;
};

// Law: every task of every writer runs once, and those of one writer in their order.
TEST_F(Loop, TasksOfManyThreadsRunOnceEachInTheOrderOfTheirWriter) {
  constexpr int kWriters = 4, kTasks = 20'000;
  std::vector<std::vector<int>> seen(kWriters);  // touched on the loop alone
  std::vector<std::thread> writers;
  for (int w = 0; w < kWriters; ++w) {
    writers.emplace_back([&, w] {
      for (int i = 0; i < kTasks; ++i) loop_->post([&seen, w, i](const IoToken&) { seen[w].push_back(i); });
    });
  }
  for (auto& writer : writers) writer.join();
  loop_->run_there([](const IoToken&) {});
  loop_->stop();
  for (const auto& numbers : seen) {
    ASSERT_EQ(numbers.size(), static_cast<std::size_t>(kTasks));
    for (int i = 0; i < kTasks; ++i) ASSERT_EQ(numbers[i], i);
  }
}

TEST_F(Loop, TasksPostedAfterTheEndAreDestroyedUnrun) {
  const std::shared_ptr<Mailbox> mailbox = loop_->mailbox();
  loop_->stop();
  loop_.reset();
  auto alive = std::make_shared<int>(1);
  const std::weak_ptr<int> watch = alive;
  mailbox->post([alive = std::move(alive)](const IoToken&) { FAIL(); });
  EXPECT_TRUE(watch.expired());
}

TEST_F(Loop, ATimerThatWasMovedLaterFiresOnceAtItsLastTime) {
  std::promise<TimePoint> fired;
  std::unique_ptr<Timer> timer;
  TimePoint due;
  loop_->run_there([&](const IoToken& io) {
    timer = std::make_unique<Timer>(*loop_, [&](const IoToken&) { fired.set_value(clock_.now()); });
    timer->set(io, clock_.now() + 1ms);
    due = clock_.now() + 30ms;
    timer->set(io, due);
  });
  EXPECT_GE(fired.get_future().get(), due);
  loop_->run_there([&](const IoToken&) { timer.reset(); });
}

TEST_F(Loop, ATimerThatWasClearedDoesNotFire) {
  std::promise<void> second;
  std::unique_ptr<Timer> first, last;
  loop_->run_there([&](const IoToken& io) {
    first = std::make_unique<Timer>(*loop_, [&](const IoToken&) { ADD_FAILURE(); });
    last = std::make_unique<Timer>(*loop_, [&](const IoToken&) { second.set_value(); });
    first->set(io, clock_.now() + 1ms);
    first->clear(io);
    last->set(io, clock_.now() + 5ms);
  });
  second.get_future().wait();
  loop_->run_there([&](const IoToken&) {
    first.reset();
    last.reset();
  });
}

TEST(Listening, APortInUseIsNamedAndSharingItMustBeAskedFor) {
  auto first = listen_on({});
  ASSERT_TRUE(first.ok());
  const auto second = listen_on({.port = first->port});
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().message(), "Socket '127.0.0.1:" + std::to_string(first->port) + "' already in use");

  auto shared = listen_on({.reuse_port = true});
  ASSERT_TRUE(shared.ok());
  EXPECT_TRUE(listen_on({.port = shared->port, .reuse_port = true}).ok());
}

TEST(Listening, AddressesOfEveryKindAreUnderstood) {
  EXPECT_TRUE(listen_on({.address = "0.0.0.0"}).ok());
  EXPECT_TRUE(listen_on({.address = "localhost"}).ok());
  EXPECT_EQ(listen_on({.address = "no.such.host.invalid"}).status().code(), StatusCode::invalid_argument);
  const std::string path = "unix:/tmp/argosy_listen_" + std::to_string(::getpid());
  {
    auto open = listen_on({.address = path});
    ASSERT_TRUE(open.ok());
    EXPECT_FALSE(listen_on({.address = path}).ok());
  }
  EXPECT_TRUE(listen_on({.address = path}).ok());  // left over, and nobody listens
  ::unlink(path.substr(5).c_str());
}

}  // namespace
}  // namespace argosy::net
