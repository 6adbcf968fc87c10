#include "worker/process.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <string>

#include "worker/restart.h"
#include "worker/wire.h"

namespace argosy::worker {
namespace {

using namespace std::chrono_literals;

std::string read_all(int descriptor) {
  std::string text;
  char buffer[256];
  for (;;) {
    pollfd watched{descriptor, POLLIN, 0};
    poll(&watched, 1, 60'000);
    const auto count = read(descriptor, buffer, sizeof buffer);
    if (count <= 0) return text;
    text.append(buffer, static_cast<std::size_t>(count));
  }
}

TEST(Process, GivesDescriptorsAndEnvironmentAndCatchesOutput) {
  auto event = make_event();
  ASSERT_TRUE(event.ok());
  auto process = Process::start({.arguments = {"/bin/sh", "-c", "echo $NAME; ls /proc/self/fd | wc -l >&2; exit 3"},
                                 .environment = {"NAME=value", "PATH=/usr/bin:/bin"},
                                 .descriptors = {event->get()}});
  ASSERT_TRUE(process.ok()) << process.status().message();
  EXPECT_EQ(read_all(process->output()), "value\n");
  EXPECT_EQ(read_all(process->errors()), "5\n");  // 0 1 2, the event, and ls's own
  EXPECT_EQ(process->wait(), "exited with code 3");
}

TEST(Process, AKilledOneIsSeenAtItsDescriptor) {
  auto process = Process::start({.arguments = {"/bin/sleep", "1000"}});
  ASSERT_TRUE(process.ok());
  process->kill();
  pollfd watched{process->death(), POLLIN, 0};
  ASSERT_EQ(poll(&watched, 1, 60'000), 1);
  EXPECT_EQ(process->wait(), "was killed by signal 9 (Killed)");
}

TEST(Process, AProgramThatIsNotThereIsAnError) {
  auto process = Process::start({.arguments = {"/no/such/program"}});
  ASSERT_FALSE(process.ok());
  EXPECT_NE(process.status().message().find("/no/such/program"), std::string::npos);
}

TEST(RestartPolicy, WaitsLongerEachTimeAndThenOpensTheCircuit) {
  RestartPolicy policy({.first = 10ms, .longest = 30ms, .settled = 1s, .open_for = 5s, .most = 4});
  const TimePoint t{};
  EXPECT_EQ(policy.died(t), t + 10ms);
  EXPECT_EQ(policy.died(t), t + 20ms);
  EXPECT_EQ(policy.died(t), t + 30ms);
  EXPECT_FALSE(policy.open());
  EXPECT_EQ(policy.died(t), t + 5s);
  EXPECT_TRUE(policy.open());
  policy.became_ready(t);
  EXPECT_EQ(policy.died(t + 2s), t + 2s + 10ms);
}

struct Wire : testing::Test {
  Loans ours{*Arena::create("wire test", 1u << 20, 0)};
  PeerArena theirs = *PeerArena::create("wire peer", 1u << 20);
  Exchange exchange{&ours, &theirs, [](std::uint64_t) {}};
  Writer message;
  std::vector<std::uint64_t> lent;
};

TEST_F(Wire, ARequestComesOutAsItWentIn) {
  infer::Request request;
  request.id = "7";
  request.sequence = {.id = std::string("abc"), .start = true};
  request.wanted = {"Y"};
  request.parameters = {{"a", true}, {"b", std::int64_t{-3}}, {"c", 0.5}, {"d", std::string("text")}};
  request.inputs.push_back({"X", tensor::DType::int32, {2}, Bytes::copy_of(std::string_view("01234567"))});
  ASSERT_TRUE(write_request(request, 1, TimePoint{}, exchange, message, lent).ok());
  const Bytes bytes = Bytes::copy_of(message.bytes());
  Reader reader(bytes.view());
  auto read = read_request(reader, bytes, exchange, TimePoint{});
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ((*read)->id, "7");
  EXPECT_EQ(std::get<std::string>((*read)->sequence.id), "abc");
  EXPECT_TRUE((*read)->sequence.start);
  EXPECT_EQ((*read)->wanted, request.wanted);
  EXPECT_EQ((*read)->parameters, request.parameters);
  ASSERT_EQ((*read)->inputs.size(), 1u);
  EXPECT_EQ((*read)->inputs[0].data.bytes().view(), "01234567");
}

// Law: a message cut anywhere, or with any byte changed, is refused or read, never followed outside.
TEST_F(Wire, ADamagedResponseIsRefusedOrHarmless) {
  infer::Response response;
  response.parameters = {{"a", std::string("text")}};
  response.outputs.push_back({"Y", tensor::DType::fp32, {2}, Bytes::copy_of(std::string_view("01234567"))});
  ASSERT_TRUE(write_response(response, exchange, message, lent).ok());
  const std::string whole(reinterpret_cast<const char*>(message.bytes().data()), message.size());
  const auto read = [&](const std::string& text) {
    const Bytes bytes = Bytes::copy_of(std::string_view(text));
    Reader reader(bytes.view());
    return read_response(reader, bytes, exchange).ok();
  };
  EXPECT_TRUE(read(whole));
  for (std::size_t cut = 0; cut < whole.size(); ++cut) EXPECT_FALSE(read(whole.substr(0, cut))) << cut;
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (const int flip : {1, 0x80, 0xff}) {
      std::string damaged = whole;
      damaged[at] = static_cast<char>(damaged[at] ^ flip);
      (void)read(damaged);
    }
  }
}

}  // namespace
}  // namespace argosy::worker
