#include "http2/session.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "http2/client.h"

namespace argosy::http2 {
namespace {

using test::HeaderList;
using test::Http2Client;

const HeaderList kPost{{":method", "POST"}, {":scheme", "http"}, {":path", "/a"}, {":authority", "h"}};
const Header kHead[] = {{":status", "200", true}};
const Header kTrailers[] = {{"x-end", "0", true}};

struct Told final : StreamEvents {
  void on_header(std::string_view name, std::string_view value) override { headers[std::string(name)] = value; }
  void on_head(bool large) override { head = true, too_large = large; }
  void on_data(Bytes data) override { body.push_back(std::move(data)); }
  void on_end() override { ended = true; }
  void on_drained() override { ++drained; }
  void on_close(ErrorCode c) override { closed = true, code = c, ++closes; }
  std::string text() const {
    std::string all;
    for (const Bytes& slice : body) all += slice.view();
    return all;
  }

  std::map<std::string, std::string> headers;
  std::vector<Bytes> body;
  bool head = false, too_large = false, ended = false, closed = false;
  int drained = 0, closes = 0;
  ErrorCode code = ErrorCode::no_error;
};

// A client and a server with nothing but strings between them.
struct Pair : SessionEvents {
  explicit Pair(Limits limits = {}, std::vector<nghttp2_settings_entry> settings = {}, bool reads = true)
      : client(std::move(settings), reads), server(std::make_unique<Session>(limits, *this, default_pool())) {}

  StreamEvents* on_stream(StreamId id) override { return refuse ? nullptr : &streams[id]; }
  void on_ping() override { ++pings; }
  void on_ping_ack() override { ++ping_acks; }
  void on_data_sent() override { ++data_sent; }

  bool to_server() {
    const std::string sent = client.take();
    last_received = Bytes::copy_of(sent);
    return sent.empty() || server->receive(last_received);
  }
  std::string pull(std::size_t budget = 1u << 20) {
    std::vector<Bytes> out;
    const std::size_t size = server->pull(out, budget);
    std::string all;
    for (const Bytes& slice : out) all += slice.view();
    EXPECT_EQ(all.size(), size);
    return all;
  }
  // Both ways until neither has anything to say.
  void exchange() {
    for (int quiet = 0; quiet < 2;) {
      const std::string up = client.take();
      if (!up.empty()) alive = server->receive(Bytes::copy_of(up)) && alive;
      const std::string down = pull();
      if (!down.empty()) client.give(down);
      quiet = up.empty() && down.empty() ? quiet + 1 : 0;
    }
  }

  std::map<StreamId, Told> streams;
  bool refuse = false, alive = true;
  int pings = 0, ping_acks = 0, data_sent = 0;
  Bytes last_received;
  Http2Client client;
  std::unique_ptr<Session> server;
};

TEST(Session, ShowsARequestAndCarriesItsAnswer) {
  Pair pair;
  const auto id = pair.client.open(kPost);
  pair.client.send(id, "hello", true);
  pair.exchange();

  Told& told = pair.streams[id];
  EXPECT_EQ(told.headers[":path"], "/a");
  EXPECT_TRUE(told.head && told.ended && !told.too_large);
  EXPECT_EQ(told.text(), "hello");

  pair.server->consume(id, 5);
  pair.server->respond(id, kHead);
  pair.server->write(id, Bytes::copy_of("wor"));
  pair.server->write(id, Bytes::copy_of("ld"));
  pair.server->finish(id, kTrailers);
  pair.exchange();

  const auto& heard = pair.client.heard(id);
  EXPECT_EQ(heard.head.at(":status"), "200");
  EXPECT_EQ(heard.body, "world");
  EXPECT_EQ(heard.trailers.at("x-end"), "0");
  EXPECT_TRUE(heard.closed);
  EXPECT_EQ(heard.close_code, 0u);
  EXPECT_EQ(told.closes, 1);
  EXPECT_EQ(pair.server->open_streams(), 0u);
}

TEST(Session, ReceivedDataAreSlicesOfTheBytesGiven) {
  Pair pair;
  const auto id = pair.client.open(kPost);
  pair.client.send(id, std::string(1000, 'x'));
  ASSERT_TRUE(pair.to_server());
  ASSERT_EQ(pair.streams[id].body.size(), 1u);
  const Bytes& slice = pair.streams[id].body[0];
  EXPECT_EQ(slice.owner(), pair.last_received.owner());
  EXPECT_GE(slice.data(), pair.last_received.data());
}

TEST(Session, LargeSlicesLeaveUncopiedAndSmallPiecesTogether) {
  Pair pair(Limits{}, {{NGHTTP2_SETTINGS_MAX_FRAME_SIZE, 1 << 20}, {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 24}});
  const auto id = pair.client.open(kPost, true);
  pair.exchange();
  const Bytes large = Bytes::copy_of(std::string(50'000, 'L'));
  pair.server->respond(id, kHead);
  pair.server->write(id, Bytes::copy_of("head"));
  pair.server->write(id, large);
  pair.server->finish(id, kTrailers);

  std::vector<Bytes> out;
  pair.server->pull(out, 1u << 20);
  ASSERT_EQ(out.size(), 3u);  // heads and the small slice; the large slice; the trailers
  EXPECT_EQ(out[1].data(), large.data());
  EXPECT_EQ(out[1].size(), large.size());
}

TEST(Session, SmallWritesInARowAreOnePiece) {
  Pair pair;
  const auto id = pair.client.open(kPost, true);
  pair.exchange();
  pair.server->respond(id, kHead);
  const std::string_view prefix = "12345", text = "message";
  pair.server->write_copy(id, std::as_bytes(std::span(prefix)));
  pair.server->write_copy(id, std::as_bytes(std::span(text)));
  EXPECT_EQ(pair.server->unsent(id), 12u);
  pair.server->finish(id, kTrailers);
  std::vector<Bytes> out;
  pair.server->pull(out, 1u << 20);
  EXPECT_EQ(out.size(), 1u);
  for (const Bytes& slice : out) pair.client.give(slice.view());
  EXPECT_EQ(pair.client.heard(id).body, "12345message");
}

TEST(Session, PullStopsNearItsBudgetAndGoesOnLater) {
  Pair pair(Limits{}, {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 24}});
  const auto id = pair.client.open(kPost, true);
  pair.exchange();
  pair.server->respond(id, kHead);
  pair.server->write(id, Bytes::copy_of(std::string(60'000, 'b')));
  pair.server->finish(id, kTrailers);
  const std::string first = pair.pull(1000);
  EXPECT_LT(first.size(), 20'000u);
  EXPECT_TRUE(pair.server->wants_pull());
  pair.client.give(first);
  pair.exchange();
  EXPECT_EQ(pair.client.heard(id).body.size(), 60'000u);
  EXPECT_TRUE(pair.client.heard(id).closed);
}

TEST(Session, AClientIsHeldAtTheWindowUntilTheApplicationConsumes) {
  Limits limits;
  limits.stream_window_bytes = 65'535;
  limits.connection_window_bytes = 1u << 20;
  Pair pair(limits);
  pair.exchange();
  const auto id = pair.client.open(kPost);
  pair.client.send(id, std::string(200'000, 'x'));
  pair.exchange();
  EXPECT_EQ(pair.streams[id].text().size(), 65'535u);
  pair.exchange();
  EXPECT_EQ(pair.client.unsent(id), 200'000u - 65'535u);

  pair.server->consume(id, 65'535);
  pair.exchange();
  EXPECT_EQ(pair.streams[id].text().size(), 131'070u);
}

TEST(Session, AStreamThatDiesUnreadGivesTheConnectionsWindowBack) {
  Limits limits;
  limits.stream_window_bytes = 65'535;
  limits.connection_window_bytes = 65'535;
  Pair pair(limits);
  pair.exchange();
  for (int i = 0; i < 20; ++i) {
    const auto id = pair.client.open(kPost);
    pair.client.send(id, std::string(60'000, 'x'));
    pair.exchange();
    EXPECT_EQ(pair.streams[id].text().size(), 60'000u) << i;
    pair.client.reset(id);
    pair.exchange();
    EXPECT_EQ(pair.streams[id].code, ErrorCode::cancel);
  }
}

TEST(Session, ASlowReaderHoldsTheAnswerAndOnDrainedTellsWhenItMoves) {
  Pair pair(Limits{}, {}, /*reads=*/false);
  const auto id = pair.client.open(kPost, true);
  pair.exchange();
  pair.server->respond(id, kHead);
  pair.server->write(id, Bytes::copy_of(std::string(200'000, 'x')));
  pair.exchange();
  EXPECT_EQ(pair.client.heard(id).body.size(), 65'535u);
  EXPECT_EQ(pair.server->unsent(id), 200'000u - 65'535u);
  EXPECT_EQ(pair.streams[id].drained, 0);

  for (int i = 0; i < 5; ++i) {
    pair.client.read_more(id, std::min<std::size_t>(65'535, pair.client.heard(id).body.size() - 65'535u * i));
    pair.exchange();
  }
  EXPECT_EQ(pair.server->unsent(id), 0u);
  EXPECT_EQ(pair.streams[id].drained, 1);
}

TEST(Session, ARefusedStreamIsTellable) {
  Pair pair;
  pair.refuse = true;
  const auto id = pair.client.open(kPost, true);
  pair.exchange();
  EXPECT_EQ(pair.client.heard(id).close_code, static_cast<std::uint32_t>(NGHTTP2_REFUSED_STREAM));
}

TEST(Session, AnsweringBeforeTheRequestIsCompleteTellsTheClientToStop) {
  Pair pair;
  const auto id = pair.client.open(kPost);
  pair.client.send(id, "part of it");
  pair.exchange();
  const Header head[] = {{":status", "200", true}, {"grpc-status", "12"}};
  pair.server->respond_and_finish(id, head);
  pair.exchange();
  EXPECT_EQ(pair.client.heard(id).head.at("grpc-status"), "12");
  EXPECT_TRUE(pair.client.heard(id).closed);
  EXPECT_EQ(pair.client.heard(id).close_code, 0u);
  EXPECT_EQ(pair.streams[id].closes, 1);
}

TEST(Session, AHeadBeyondTheLimitIsCutAndMarked) {
  Limits limits;
  limits.max_header_bytes = 4096;
  Pair pair(limits);
  HeaderList large = kPost;
  for (int i = 0; i < 40; ++i) large.push_back({"x-" + std::to_string(i), std::string(100, 'v')});
  const auto id = pair.client.open(large, true);
  pair.exchange();
  EXPECT_TRUE(pair.streams[id].too_large);
  EXPECT_LT(pair.streams[id].headers.size(), 40u);
  EXPECT_TRUE(pair.alive);
}

TEST(Session, DrainFinishesWhatRunsAndRefusesTheRest) {
  Pair pair;
  const auto before = pair.client.open(kPost, true);
  pair.exchange();
  pair.server->drain();
  pair.exchange();
  EXPECT_TRUE(pair.client.went_away());
  EXPECT_FALSE(pair.server->done());
  pair.server->respond(before, kHead);
  pair.server->write(before, Bytes::copy_of("late"));
  pair.server->finish(before, kTrailers);
  pair.exchange();
  EXPECT_EQ(pair.client.heard(before).body, "late");
  EXPECT_EQ(pair.client.goaway_code(), 0u);
  EXPECT_TRUE(pair.server->done());
}

TEST(Session, AStreamOpenedBeforeTheClientSawTheNoticeIsServed) {
  Pair pair;
  pair.exchange();
  pair.server->drain();
  const auto racing = pair.client.open(kPost, true);
  const std::string sent = pair.client.take();  // crosses the notice on the wire
  ASSERT_TRUE(pair.server->receive(Bytes::copy_of(sent)));
  EXPECT_TRUE(pair.streams[racing].head);
  pair.server->respond(racing, kHead);
  pair.server->finish(racing, kTrailers);
  pair.exchange();
  EXPECT_EQ(pair.client.heard(racing).trailers.at("x-end"), "0");
  EXPECT_TRUE(pair.server->done());
}

TEST(Session, TerminateSaysWhyAndEnds) {
  Pair pair;
  pair.client.open(kPost);
  pair.exchange();
  pair.server->terminate(ErrorCode::enhance_your_calm, "too_many_pings");
  pair.exchange();
  EXPECT_EQ(pair.client.goaway_code(), static_cast<std::uint32_t>(NGHTTP2_ENHANCE_YOUR_CALM));
  EXPECT_EQ(pair.client.goaway_reason(), "too_many_pings");
  EXPECT_TRUE(pair.server->done());
}

TEST(Session, DestroyedWithOpenStreamsItClosesEachOnce) {
  Pair pair;
  const auto first = pair.client.open(kPost);
  const auto second = pair.client.open(kPost, true);
  pair.exchange();
  pair.server.reset();
  EXPECT_EQ(pair.streams[first].closes, 1);
  EXPECT_EQ(pair.streams[second].closes, 1);
}

TEST(Session, WordsToAClosedStreamAreIgnored) {
  Pair pair;
  const auto id = pair.client.open(kPost);
  pair.client.send(id, "abc");
  pair.exchange();
  pair.client.reset(id);
  pair.exchange();
  pair.server->consume(id, 3);
  pair.server->respond(id, kHead);
  pair.server->write(id, Bytes::copy_of("nobody"));
  pair.server->finish(id, kTrailers);
  pair.server->reset(id, ErrorCode::cancel);
  EXPECT_EQ(pair.server->unsent(id), 0u);
  pair.exchange();
  EXPECT_TRUE(pair.alive);
}

TEST(Session, FloodsOfEmptyFramesEndTheConnection) {
  Limits limits;
  limits.max_idle_frames = 50;
  for (const bool pings : {true, false}) {
    Pair pair(limits);
    pair.exchange();
    for (int i = 0; i < 60; ++i) {
      if (pings) {
        pair.client.ping();
      } else {
        pair.client.settings();
      }
    }
    pair.exchange();
    EXPECT_EQ(pair.client.goaway_code(), static_cast<std::uint32_t>(NGHTTP2_ENHANCE_YOUR_CALM)) << pings;
    EXPECT_TRUE(pair.server->done());
  }
}

TEST(Session, ResetsWithoutEndEndTheConnection) {
  Limits limits;
  limits.reset_burst = 100;
  limits.reset_rate = 1;
  Pair pair(limits);
  pair.exchange();
  for (int i = 0; i < 400 && !pair.client.went_away(); ++i) {
    const auto id = pair.client.open(kPost);
    pair.exchange();
    pair.client.reset(id);
    pair.exchange();
  }
  EXPECT_TRUE(pair.client.went_away());
}

TEST(Session, MoreStreamsThanAllowedAreRefused) {
  Limits limits;
  limits.max_concurrent_streams = 3;
  Pair pair(limits);
  std::vector<std::int32_t> ids;
  for (int i = 0; i < 5; ++i) ids.push_back(pair.client.open(kPost));
  // Before the client has seen the limit: all five cross at once.
  const std::string sent = pair.client.take();
  ASSERT_TRUE(pair.server->receive(Bytes::copy_of(sent)));
  EXPECT_LE(pair.server->open_streams(), 5u);
  pair.exchange();
  const auto late = pair.client.open(kPost);
  pair.exchange();
  EXPECT_FALSE(pair.streams[late].head);  // held back by the client itself
}

TEST(Session, WhatIsNotHttp2IsTurnedAway) {
  Pair pair;
  EXPECT_FALSE(pair.server->receive(Bytes::copy_of("GET / HTTP/1.1\r\nhost: h\r\n\r\n")));
  pair.pull();
  EXPECT_TRUE(pair.server->done());
}

// Whatever a client does, each stream is closed once, nothing crashes, and answers
// that were sent whole arrive whole.
TEST(SessionProperty, AnyMixOfRequestsAndResetsKeepsItsBooks) {
  for (unsigned seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const auto below = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
    Limits limits;
    limits.stream_window_bytes = 65'535 + below(100'000);
    Pair pair(limits);
    std::map<std::int32_t, std::string> answers;
    std::vector<std::int32_t> open;
    for (int step = 0; step < 200; ++step) {
      switch (below(6)) {
        case 0: open.push_back(pair.client.open(kPost)); break;
        case 1:
          if (!open.empty()) pair.client.send(open[below(open.size())], std::string(below(90'000), 'r'));
          break;
        case 2:
          if (!open.empty()) pair.client.end(open[below(open.size())]);
          break;
        case 3:
          if (below(3) == 0 && !open.empty()) pair.client.reset(open[below(open.size())]);
          break;
        case 4:
          for (auto& [id, told] : pair.streams) {
            if (!told.ended || told.closed || answers.count(id) != 0) continue;
            std::string answer(below(200'000), static_cast<char>('a' + id % 26));
            pair.server->respond(id, kHead);
            for (std::size_t at = 0; at < answer.size();) {
              const std::size_t part = std::min<std::size_t>(1 + below(50'000), answer.size() - at);
              pair.server->write(id, Bytes::copy_of(answer.substr(at, part)));
              at += part;
            }
            pair.server->finish(id, kTrailers);
            answers[id] = std::move(answer);
          }
          break;
        default:
          for (auto& [id, told] : pair.streams) {
            std::size_t size = 0;
            for (const Bytes& slice : told.body) size += slice.size();
            if (!told.closed) pair.server->consume(id, size);
            told.body.clear();
          }
          pair.exchange();
      }
    }
    for (auto& [id, told] : pair.streams) {
      std::size_t size = 0;
      for (const Bytes& slice : told.body) size += slice.size();
      if (!told.closed) pair.server->consume(id, size);
      told.body.clear();
    }
    pair.exchange();
    for (const auto& [id, answer] : answers) {
      if (pair.client.heard(id).close_code == NGHTTP2_CANCEL) continue;
      EXPECT_TRUE(pair.client.heard(id).ended) << id;
      EXPECT_EQ(pair.client.heard(id).body, answer) << id;
    }
    pair.server.reset();
    for (const auto& [id, told] : pair.streams) EXPECT_EQ(told.closes, 1) << id;
  }
}

}  // namespace
}  // namespace argosy::http2
