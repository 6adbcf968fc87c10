#include "serve/grpc_connection.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "kserve/compress.h"
#include "serve/grpc_fixture.h"

namespace argosy::serve {
namespace {

using namespace std::chrono_literals;

std::string output_of(const test::Heard& heard) {
  const auto messages = messages_of(heard);
  return messages.size() == 1 ? field_of(messages[0], 6) : "not one message";
}

TEST(GrpcConnection, ModelInferGivesBackWhatItWasGiven) {
  GrpcServer server;
  server.load("m", "identity");
  GrpcClient client(server);
  const auto& heard = client.call(kModelInfer, infer_request("m", "payload", "id7"));
  EXPECT_EQ(status_of(heard), "0");
  EXPECT_EQ(heard.head.at("content-type"), "application/grpc");
  EXPECT_EQ(output_of(heard), "payload");
  EXPECT_EQ(field_of(messages_of(heard)[0], 3), "id7");
}

TEST(GrpcConnection, ManyStreamsOfOneConnectionEachGetTheirOwn) {
  GrpcServer server;
  server.load("m", "identity");
  GrpcClient client(server);
  std::vector<std::int32_t> ids;
  for (int i = 0; i < 500; ++i) {
    ids.push_back(client.start(kModelInfer));
    client.message(ids.back(), infer_request("m", "data " + std::to_string(i)), true);
  }
  for (int i = 0; i < 500; ++i) {
    ASSERT_TRUE(client.closed(ids[i]));
    EXPECT_EQ(output_of(client.h2.heard(ids[i])), "data " + std::to_string(i));
  }
}

TEST(GrpcConnection, LargeTensorsPassBothWays) {
  GrpcServer server;
  server.load("m", "identity");
  GrpcClient client(server, {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 20}});
  std::string large(9'000'000, '\0');
  for (std::size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>(i * 7 + i / 997);
  const auto& heard = client.call(kModelInfer, infer_request("m", large));
  EXPECT_EQ(status_of(heard), "0") << message_of(heard);
  EXPECT_TRUE(output_of(heard) == large);
}

std::string noise(std::size_t size, unsigned seed) {
  std::mt19937 random(seed);
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

std::string framed(const std::string& message, bool compressed = false) {
  const auto prefix = grpc::message_prefix(message.size(), compressed);
  return std::string(reinterpret_cast<const char*>(prefix.data()), prefix.size()) + message;
}

// Streams take turns in the middle of their messages; some never end them.
TEST(GrpcConnection, LargeMessagesThatMixOnTheWayArriveWhole) {
  for (unsigned seed = 1; seed <= 8; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    GrpcServer server;
    server.load("m", "identity");
    GrpcClient client(server, {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 8 << 20}});
    struct Sent {
      std::int32_t id;
      std::string data, bytes;
      bool given_up;
    };
    std::vector<Sent> calls;
    for (unsigned i = 0; i < 5; ++i) {
      std::string data = noise(50'000 + random() % 700'000, seed * 10 + i);
      std::string bytes = framed(infer_request("m", data));
      calls.push_back({client.start(kModelInfer), std::move(data), std::move(bytes), i == 4});
    }
    // All but the last bytes first: nothing is answered while this client only writes.
    for (bool more = true; more;) {
      more = false;
      for (Sent& call : calls) {
        if (call.bytes.size() <= 100) continue;
        const std::size_t usual = random() % 4 == 0 ? 1 + random() % 200'000 : 16'384 * (1 + random() % 8);
        const std::size_t part = std::min(usual, call.bytes.size() - 100);
        client.h2.send(call.id, call.bytes.substr(0, part));
        call.bytes.erase(0, part);
        if (random() % 3 == 0) client.h2.settings();
        client.flush();
        if (call.given_up && random() % 5 == 0) {
          client.h2.reset(call.id);
          call.bytes.clear();
        }
        more = true;
      }
    }
    for (Sent& call : calls) {
      if (!call.bytes.empty()) client.h2.send(call.id, call.bytes, true);
    }
    for (const Sent& call : calls) {
      ASSERT_TRUE(client.closed(call.id));
      if (call.bytes.empty()) continue;
      EXPECT_EQ(status_of(client.h2.heard(call.id)), "0") << message_of(client.h2.heard(call.id));
      EXPECT_TRUE(output_of(client.h2.heard(call.id)) == call.data);
    }
  }
}

TEST(GrpcConnection, AStreamCarriesLargeMessagesOneAfterAnother) {
  GrpcServer server;
  server.load("m", "identity");
  GrpcClient client(server, {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 8 << 20}});
  const auto id = client.start(kStreamInfer);
  std::vector<std::string> sent;
  std::size_t heard = 0;
  for (unsigned i = 0; i < 12; ++i) {
    sent.push_back(noise(i % 3 == 0 ? 100 : 900'000 + i, i));
    client.message(id, infer_request("m", sent.back()));
    heard += sent.back().size();
    // Not more on the way than fits into sockets: this client writes without reading.
    ASSERT_TRUE(client.until([&] { return client.h2.heard(id).body.size() >= heard; }));
  }
  client.h2.end(id);
  ASSERT_TRUE(client.closed(id));
  const auto messages = messages_of(client.h2.heard(id));
  ASSERT_EQ(messages.size(), sent.size());
  for (std::size_t i = 0; i < sent.size(); ++i) EXPECT_TRUE(field_of(field_of(messages[i], 2), 6) == sent[i]) << i;
}

TEST(GrpcConnection, ClientsThatVanishInsideALargeMessageLeaveNothing) {
  GrpcServer server;
  server.load("m", "identity");
  const std::string data = noise(2'000'000, 3);
  const std::string bytes = framed(infer_request("m", data));
  for (std::size_t part = 100'000; part < bytes.size(); part += 230'000) {
    GrpcClient client(server);
    client.h2.send(client.start(kModelInfer), bytes.substr(0, part));
    client.flush();
  }
  while (server.connections() != 0) std::this_thread::yield();
  GrpcClient client(server, {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 8 << 20}});
  EXPECT_TRUE(output_of(client.call(kModelInfer, infer_request("m", data))) == data);
}

TEST(GrpcConnection, FailuresAreTheCallsStatus) {
  GrpcServer server;
  server.load("m", "identity");
  server.load("r", "repeat");
  GrpcClient client(server);
  const auto& unknown = client.call(kModelInfer, infer_request("nope", "x"));
  EXPECT_EQ(status_of(unknown), "5");
  EXPECT_EQ(message_of(unknown), "Request for unknown model: 'nope' is not found");
  const auto& decoupled = client.call(kModelInfer, infer_request("r", "x"));
  EXPECT_EQ(status_of(decoupled), "12");
  EXPECT_EQ(message_of(decoupled), "ModelInfer RPC doesn't support models with decoupled transaction policy");
  EXPECT_EQ(status_of(client.call(kModelInfer, "\xff\xff\xff")), "3");
  EXPECT_EQ(status_of(client.call("/inference.GRPCInferenceService/Nonsense", "")), "12");
  EXPECT_EQ(status_of(client.call("/grpc.health.v1.Health/Watch", "")), "12");
}

TEST(GrpcConnection, WhatIsNotGrpcGetsAnHttpAnswer) {
  GrpcServer server;
  GrpcClient client(server);
  const auto get = client.h2.open({{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {":authority", "t"}}, true);
  ASSERT_TRUE(client.closed(get));
  EXPECT_EQ(client.h2.heard(get).head.at(":status"), "405");
  const auto json = client.h2.open({{":method", "POST"},
                                    {":scheme", "http"},
                                    {":path", kModelInfer},
                                    {":authority", "t"},
                                    {"content-type", "application/json"}},
                                   true);
  ASSERT_TRUE(client.closed(json));
  EXPECT_EQ(client.h2.heard(json).head.at(":status"), "415");
}

TEST(GrpcConnection, HealthIsAnsweredHere) {
  GrpcServer server;
  server.load("m", "identity");
  GrpcClient client(server);
  const std::string yes("\x08\x01", 2);
  EXPECT_EQ(messages_of(client.call("/inference.GRPCInferenceService/ServerLive", "")), std::vector{yes});
  EXPECT_EQ(messages_of(client.call("/inference.GRPCInferenceService/ServerReady", "")), std::vector{std::string()});
  server.state.ready = true;
  EXPECT_EQ(messages_of(client.call("/inference.GRPCInferenceService/ServerReady", "")), std::vector{yes});
  EXPECT_EQ(messages_of(client.call("/grpc.health.v1.Health/Check", "")), std::vector{yes});
  EXPECT_EQ(messages_of(client.call("/inference.GRPCInferenceService/ModelReady", "\x0a\x01m")), std::vector{yes});
  EXPECT_EQ(status_of(client.call("/inference.GRPCInferenceService/ModelReady", "\x0a\x01x")), "5");
}

TEST(GrpcConnection, ControlCallsCrossWithTheirMetadata) {
  GrpcServer server;
  GrpcClient client(server);
  const std::string path = "/inference.GRPCInferenceService/ServerMetadata";
  EXPECT_EQ(messages_of(client.call(path, "body", {{"x-a", "1"}})), std::vector{path + "|body|x-a=1"});
  const auto& failed = client.call(path, "fail");
  EXPECT_EQ(status_of(failed), "12");
  EXPECT_EQ(message_of(failed), "not 100%25 served%0A");
  EXPECT_EQ(status_of(client.call(path, "drop")), "13");
}

TEST(GrpcConnection, StreamAnswersComeInTheOrderOfTheRequests) {
  GrpcServer server;
  server.load("slow", "identity", {{"execute_delay_ms", "30"}});
  server.load("fast", "identity");
  GrpcClient client(server);
  const auto id = client.start(kStreamInfer);
  for (int i = 0; i < 6; ++i) client.message(id, infer_request(i % 2 ? "fast" : "slow", "x", std::to_string(i)));
  client.h2.end(id);
  ASSERT_TRUE(client.closed(id));
  EXPECT_EQ(status_of(client.h2.heard(id)), "0");
  std::string ids;
  for (const std::string& message : messages_of(client.h2.heard(id))) ids += field_of(field_of(message, 2), 3);
  EXPECT_EQ(ids, "012345");
}

TEST(GrpcConnection, AStreamsErrorsAreMessagesAndItStaysOpen) {
  GrpcServer server;
  server.load("m", "identity");
  GrpcClient client(server);
  const auto id = client.start(kStreamInfer);
  client.message(id, infer_request("nope", "x", "a"));
  client.message(id, infer_request("m", "fine", "b"), true);
  ASSERT_TRUE(client.closed(id));
  const auto messages = messages_of(client.h2.heard(id));
  ASSERT_EQ(messages.size(), 2u);
  EXPECT_EQ(field_of(messages[0], 1), "Request for unknown model: 'nope' is not found");
  EXPECT_EQ(field_of(field_of(messages[0], 2), 3), "a");
  EXPECT_EQ(field_of(field_of(messages[1], 2), 6), "fine");
}

TEST(GrpcConnection, WithTritonGrpcErrorTheFirstErrorEndsTheStream) {
  GrpcServer server;
  server.load("m", "identity");
  GrpcClient client(server);
  const auto id = client.start(kStreamInfer, {{"triton_grpc_error", "true"}});
  client.message(id, infer_request("m", "fine"));
  client.message(id, infer_request("nope", "x"));
  ASSERT_TRUE(client.closed(id));
  EXPECT_EQ(status_of(client.h2.heard(id)), "5");
  EXPECT_EQ(messages_of(client.h2.heard(id)).size(), 1u);
}

TEST(GrpcConnection, DecoupledAnswersStreamAndAnEmptyFinalComesOnRequest) {
  GrpcServer server;
  server.load("r", "repeat");
  for (const bool wants_final : {false, true}) {
    GrpcClient client(server);
    const auto id = client.start(kStreamInfer);
    client.message(id, infer_request("r", "x", "i", wants_final), true);
    ASSERT_TRUE(client.closed(id));
    const auto messages = messages_of(client.h2.heard(id));
    ASSERT_EQ(messages.size(), wants_final ? 4u : 3u);
    EXPECT_EQ(field_of(field_of(messages[0], 2), 6), "x");
    if (wants_final) {
      EXPECT_EQ(field_of(field_of(messages[3], 2), 6), "");
      EXPECT_NE(messages[3].find("triton_final_response"), std::string::npos);
    }
  }
}

TEST(GrpcConnection, ADeadlineEndsTheCallWhileTheModelIsBusy) {
  GrpcServer server;
  server.load("slow", "identity", {{"execute_delay_ms", "600000"}});  // ends when its client leaves
  GrpcClient client(server);
  const auto first = client.start(kModelInfer);
  client.message(first, infer_request("slow", "x"), true);
  const auto second = client.start(kModelInfer, {{"grpc-timeout", "50m"}});
  client.message(second, infer_request("slow", "x"), true);
  ASSERT_TRUE(client.closed(second));
  EXPECT_EQ(status_of(client.h2.heard(second)), "4");
  EXPECT_FALSE(client.h2.heard(first).closed);
}

TEST(GrpcConnection, AResetCancelsWhatRuns) {
  GrpcServer server;
  server.load("slow", "identity", {{"execute_delay_ms", "60000"}});
  GrpcClient client(server);
  const auto id = client.start(kModelInfer);
  client.message(id, infer_request("slow", "x"), true);
  client.flush();
  client.call("/inference.GRPCInferenceService/ServerLive", "");  // by now it was submitted
  EXPECT_EQ(*server.running, 1u);
  client.h2.reset(id);
  client.flush();
  while (*server.running != 0) std::this_thread::yield();  // far sooner than its minute
}

TEST(GrpcConnection, DroppedConnectionsWithRequestsInFlightLeaveNothing) {
  GrpcServer server;
  server.load("slow", "identity", {{"execute_delay_ms", "1"}});
  for (int round = 0; round < 2000; ++round) {
    GrpcClient client(server);
    for (int i = 0; i < 2; ++i) {
      client.message(client.start(kModelInfer), infer_request("slow", "x"), true);
      client.message(client.start(kStreamInfer), infer_request("slow", "y"));
    }
    client.message(client.start(kModelInfer), std::string("half a message"));
    client.flush();
    if (round % 2 == 0) client.until([&] { return client.h2.heard(1).head_done; });
  }
  while (*server.running != 0 || server.connections() != 0) std::this_thread::yield();
  GrpcClient client(server);
  EXPECT_EQ(status_of(client.call(kModelInfer, infer_request("slow", "x"))), "0");
}

TEST(GrpcConnection, AStreamWhoseAnswersAreNotReadIsNotRead) {
  GrpcServer server;
  server.load("m", "identity");
  GrpcClient client(server, {}, /*reads=*/false);
  nghttp2_session_set_local_window_size(client.h2.raw(), 0, 0, 1 << 20);  // the stream alone is stuck
  const auto id = client.start(kStreamInfer);
  const std::string data(1u << 20, 'x');
  for (int i = 0; i < 40; ++i) client.message(id, infer_request("m", data, std::to_string(i)));
  const auto other = client.start("/inference.GRPCInferenceService/ServerLive");
  // The first answers fill the client's window; then the server stops taking requests in.
  client.until([&] { return client.h2.heard(id).body.size() >= 65'000; });
  for (int i = 0; i < 20; ++i) client.flush();
  EXPECT_GT(client.h2.unsent(id), 10u << 20);
  client.message(other, "", true);
  ASSERT_TRUE(client.closed(other));  // the connection itself is well
  EXPECT_EQ(status_of(client.h2.heard(other)), "0");
  EXPECT_LE(*server.running, 40u);
}

TEST(GrpcConnection, RestrictedCallsNeedTheirHeader) {
  FrontOptions options;
  options.grpc_restricted = {{"inference", "key", "secret"}};
  GrpcServer server(options);
  server.load("m", "identity");
  GrpcClient client(server);
  const auto& refused = client.call(kModelInfer, infer_request("m", "x"));
  EXPECT_EQ(status_of(refused), "14");
  EXPECT_EQ(message_of(refused), "This protocol is restricted, expecting header 'triton-grpc-protocol-key'");
  EXPECT_EQ(status_of(client.call(kModelInfer, infer_request("m", "x"), {{"triton-grpc-protocol-key", "wrong"}})),
            "14");
  EXPECT_EQ(status_of(client.call(kModelInfer, infer_request("m", "x"), {{"triton-grpc-protocol-key", "secret"}})),
            "0");
  EXPECT_EQ(status_of(client.call("/inference.GRPCInferenceService/ServerLive", "")), "0");
}

TEST(GrpcConnection, MessagesBeyondTheLimitAreRefused) {
  FrontOptions options;
  options.grpc_settings.max_message_bytes = 1000;
  GrpcServer server(options);
  server.load("m", "identity");
  GrpcClient client(server);
  EXPECT_EQ(status_of(client.call(kModelInfer, infer_request("m", std::string(2000, 'x')))), "8");
  EXPECT_EQ(status_of(client.call(kModelInfer, infer_request("m", std::string(200, 'x')))), "0");
}

TEST(GrpcConnection, CompressedMessagesPassBothWays) {
  FrontOptions options;
  options.grpc_settings.response_compression = CompressionLevel::medium;
  GrpcServer server(options);
  server.load("m", "identity");
  GrpcClient client(server);
  const std::string data(5000, 'z');
  kserve::Gather plain;
  plain.add(Bytes::copy_of(infer_request("m", data)));
  auto packed = kserve::deflate_body(plain, kserve::Coding::gzip, default_pool());
  ASSERT_TRUE(packed.ok());
  const auto prefix = grpc::message_prefix(packed->size, true);
  const auto id = client.start(kModelInfer, {{"grpc-encoding", "gzip"}, {"grpc-accept-encoding", "identity,gzip"}});
  client.h2.send(id, std::string(reinterpret_cast<const char*>(prefix.data()), 5) + packed->joined(), true);
  ASSERT_TRUE(client.closed(id));
  const auto& heard = client.h2.heard(id);
  EXPECT_EQ(status_of(heard), "0") << message_of(heard);
  EXPECT_EQ(heard.head.at("grpc-encoding"), "gzip");
  ASSERT_GT(heard.body.size(), 5u);
  EXPECT_EQ(heard.body[0], '\1');
  auto inflated = kserve::inflate_body(Bytes::copy_of(heard.body.substr(5)), 1u << 20);
  ASSERT_TRUE(inflated.ok());
  EXPECT_EQ(field_of(inflated->view(), 6), data);

  EXPECT_EQ(status_of(client.call(kModelInfer, infer_request("m", "x"), {{"grpc-encoding", "snappy"}})), "12");
}

TEST(GrpcConnection, ALargeCompressedMessageIsReadLikeAnyOther) {
  GrpcServer server;
  server.load("m", "identity");
  GrpcClient client(server, {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 8 << 20}});
  const std::string data = noise(1'000'000, 5);
  kserve::Gather plain;
  plain.add(Bytes::copy_of(infer_request("m", data)));
  auto packed = kserve::deflate_body(plain, kserve::Coding::deflate, default_pool());
  ASSERT_TRUE(packed.ok());
  const auto id = client.start(kModelInfer, {{"grpc-encoding", "deflate"}});
  client.h2.send(id, framed(packed->joined(), true), true);
  ASSERT_TRUE(client.closed(id));
  EXPECT_TRUE(output_of(client.h2.heard(id)) == data);
}

TEST(GrpcConnection, ADrainFinishesWhatRunsAndSendsTheRestAway) {
  GrpcServer server;
  server.load("slow", "identity", {{"execute_delay_ms", "100"}});
  GrpcClient client(server);
  const auto running = client.start(kModelInfer);
  client.message(running, infer_request("slow", "last"), true);
  const auto idle = client.start(kStreamInfer);
  client.flush();
  client.call("/inference.GRPCInferenceService/ServerLive", "");
  server.drain();
  ASSERT_TRUE(client.closed(running));
  EXPECT_EQ(output_of(client.h2.heard(running)), "last");
  ASSERT_TRUE(client.closed(idle));
  EXPECT_EQ(status_of(client.h2.heard(idle)), "14");
  EXPECT_TRUE(client.h2.went_away());
  client.until([] { return false; });  // the server hangs up
  client.hang_up();
  while (server.connections() != 0) std::this_thread::yield();
}

TEST(GrpcConnection, TooManyPingsEndTheConnection) {
  GrpcServer server;
  GrpcClient client(server);
  client.call("/inference.GRPCInferenceService/ServerLive", "");
  for (int i = 0; i < 8; ++i) client.h2.ping();
  client.until([&] { return client.h2.went_away(); });
  EXPECT_EQ(client.h2.goaway_code(), static_cast<std::uint32_t>(NGHTTP2_ENHANCE_YOUR_CALM));
  EXPECT_EQ(client.h2.goaway_reason(), "too_many_pings");
}

TEST(GrpcConnection, KeepAliveAndAgeCloseConnections) {
  FrontOptions options;
  options.grpc_settings.max_connection_age = 50ms;
  options.grpc_settings.max_connection_age_grace = 50ms;
  GrpcServer server(options);
  server.load("slow", "identity", {{"execute_delay_ms", "60000"}});
  GrpcClient client(server);
  client.message(client.start(kModelInfer), infer_request("slow", "x"), true);
  client.until([&] { return client.h2.went_away(); });
  EXPECT_TRUE(client.h2.went_away());
  client.until([] { return false; });
  client.hang_up();
  while (server.connections() != 0) std::this_thread::yield();
}

TEST(GrpcConnection, ReflectionTellsTheFiles) {
  FrontOptions options;
  options.grpc_settings.proto_files = {
      {"a.proto", {"b.proto"}, {"pkg.Service", "pkg.Message"}, {"pkg.Service"}, "descriptor A"},
      {"b.proto", {}, {"pkg.Other"}, {}, "descriptor B"}};
  GrpcServer server(options);
  GrpcClient client(server);
  const auto id = client.start("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo");
  std::string list, symbol, missing;
  kserve::WireWriter(list).bytes(7, "*");
  kserve::WireWriter(symbol).bytes(4, "pkg.Message");
  kserve::WireWriter(missing).bytes(3, "c.proto");
  client.message(id, list);
  client.message(id, symbol);
  client.message(id, missing, true);
  ASSERT_TRUE(client.closed(id));
  const auto answers = messages_of(client.h2.heard(id));
  ASSERT_EQ(answers.size(), 3u);
  EXPECT_NE(answers[0].find("pkg.Service"), std::string::npos);
  EXPECT_NE(answers[1].find("descriptor A"), std::string::npos);
  EXPECT_NE(answers[1].find("descriptor B"), std::string::npos);
  EXPECT_NE(answers[2].find("c.proto"), std::string::npos);
  EXPECT_EQ(status_of(client.h2.heard(id)), "0");
}

}  // namespace
}  // namespace argosy::serve
