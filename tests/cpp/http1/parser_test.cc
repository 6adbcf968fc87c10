#include "http1/parser.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace argosy::http1 {
namespace {

struct Seen {
  std::vector<std::string> requests;  // "METHOD target body"
  int fault = 0;
  std::string text;
};

// Feeds `bytes` in pieces of `step` and collects what comes out.
Seen feed(Parser& parser, std::string_view bytes, std::size_t step) {
  Seen seen;
  while (!bytes.empty() && seen.fault == 0) {
    const std::span<std::byte> space = parser.space();
    const std::size_t count = std::min({step, bytes.size(), space.size()});
    EXPECT_GT(count, 0u);
    if (count == 0) return seen;
    std::memcpy(space.data(), bytes.data(), count);
    parser.filled(count);
    bytes.remove_prefix(count);
    for (Event event = parser.next(); event != Event::need_more; event = parser.next()) {
      if (event == Event::fault) {
        seen.fault = parser.fault().status;
        seen.text = parser.fault().text;
        break;
      }
      if (event == Event::message) {
        const Bytes body = parser.take_body();
        seen.requests.push_back(std::string(parser.head().method) + " " + std::string(parser.head().target) + " " +
                                std::string(body.view()));
      }
    }
  }
  return seen;
}

Seen feed(std::string_view bytes, std::size_t step = 1u << 20, ParserLimits limits = {}) {
  Parser parser(limits, default_pool());
  return feed(parser, bytes, step);
}

const std::string kThree =
    "GET /v2 HTTP/1.1\r\nHost: a\r\n\r\n"
    "POST /a HTTP/1.1\r\nContent-Length: 5\r\nX: y \r\n\r\nhello"
    "POST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4;ext=1\r\ndefg\r\n0\r\nTrailer: t\r\n\r\n"
    "GET /c?q=1 HTTP/1.1\r\n\r\n";
const std::vector<std::string> kThreeSeen{"GET /v2 ", "POST /a hello", "POST /b abcdefg", "GET /c?q=1 "};

TEST(Parser, PipelinedRequestsComeOutTheSameInPiecesOfAnySize) {
  for (const std::size_t step : {1, 2, 3, 7, 16, 1000}) {
    SCOPED_TRACE(step);
    const Seen seen = feed(kThree, step);
    EXPECT_EQ(seen.fault, 0) << seen.text;
    EXPECT_EQ(seen.requests, kThreeSeen);
  }
}

TEST(Parser, ManyRequestsOnOneConnectionKeepTheirBodiesApart) {
  Parser parser({}, default_pool());
  std::mt19937 random(7);
  std::string all;
  std::vector<std::string> expected;
  for (int i = 0; i < 300; ++i) {
    const std::string body(random() % 3000, static_cast<char>('a' + i % 26));
    if (i % 3 == 0 && !body.empty()) {
      char size[32];
      std::snprintf(size, sizeof size, "%zx\r\n", body.size());
      all += "POST /" + std::to_string(i) + " HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + size + body +
             "\r\n0\r\n\r\n";
    } else {
      all += "POST /" + std::to_string(i) + " HTTP/1.1\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
             body;
    }
    expected.push_back("POST /" + std::to_string(i) + " " + body);
  }
  for (const std::size_t step : {1u, 613u, 16384u}) {
    SCOPED_TRACE(step);
    const Seen seen = feed(all, step);
    EXPECT_EQ(seen.fault, 0) << seen.text;
    EXPECT_EQ(seen.requests, expected);
  }
}

class CountingPool final : public BytesPool {
 public:
  Buffer allocate(std::size_t size) override {
    sizes.push_back(size);
    return inner_.allocate(size);
  }
  std::vector<std::size_t> sizes;

 private:
  HostPool inner_;
};

TEST(Parser, ALargeBodyIsReceivedInOneBufferOfItsSizeAndNotMovedAgain) {
  CountingPool pool;
  Parser parser({}, pool);
  const std::size_t size = 10u << 20;
  const std::string head = "POST /x HTTP/1.1\r\nContent-Length: " + std::to_string(size) + "\r\n\r\n";
  auto space = parser.space();
  std::memcpy(space.data(), head.data(), head.size());
  parser.filled(head.size());
  ASSERT_EQ(parser.next(), Event::head);
  const std::byte* const first = parser.space().data();
  ASSERT_EQ(parser.space().size(), size);  // the reader may fill it in one go
  for (std::size_t at = 0; at < size;) {
    space = parser.space();
    EXPECT_EQ(space.data(), first + at);
    const std::size_t count = std::min<std::size_t>(space.size(), 1u << 20);
    std::memset(space.data(), 'z', count);
    parser.filled(count);
    at += count;
    EXPECT_EQ(parser.next(), at == size ? Event::message : Event::need_more);
  }
  const Bytes body = parser.take_body();
  EXPECT_EQ(body.data(), first);
  EXPECT_EQ(body.size(), size);
  EXPECT_EQ(std::count_if(pool.sizes.begin(), pool.sizes.end(), [&](std::size_t s) { return s >= size; }), 1);
}

TEST(Parser, ASmallBodyIsASliceOfTheReadBuffer) {
  CountingPool pool;
  Parser parser({}, pool);
  const std::string text = "POST /x HTTP/1.1\r\nContent-Length: 4\r\n\r\nabcd";
  const auto space = parser.space();
  std::memcpy(space.data(), text.data(), text.size());
  parser.filled(text.size());
  ASSERT_EQ(parser.next(), Event::head);
  ASSERT_EQ(parser.next(), Event::message);
  EXPECT_EQ(parser.take_body().data(), space.data() + text.size() - 4);
  EXPECT_EQ(pool.sizes.size(), 1u);
}

TEST(Parser, AHeadThatFillsTheReadBufferStillHasRoomForChunks) {
  for (std::size_t pad = 16200; pad < 16400; ++pad) {
    const std::string text = "POST /x HTTP/1.1\r\nP: " + std::string(pad, 'p') +
                             "\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    const Seen seen = feed(text);
    ASSERT_EQ(seen.requests, std::vector<std::string>{"POST /x abc"}) << pad << " " << seen.text;
  }
}

struct Bad {
  const char* name;
  std::string bytes;
  int status;
};

TEST(Parser, WhatCouldBeReadInTwoWaysIsRefused) {
  const std::vector<Bad> table{
      {"no request", "hello\r\n\r\n", 400},
      {"binary", std::string("\x16\x03\x01\x02\x00\x01", 6), 400},
      {"two lengths", "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400},
      {"two equal lengths", "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", 400},
      {"length beside chunks", "POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
       400},
      {"chunks beside length", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
       400},
      {"chunked not last", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400},
      {"negative length", "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400},
      {"length list", "POST / HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\na", 400},
      {"length overflow", "POST / HTTP/1.1\r\nContent-Length: 18446744073709551616\r\n\r\n", 400},
      {"length above ours", "POST / HTTP/1.1\r\nContent-Length: 2147483648\r\n\r\n", 413},
      {"chunk size overflow", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", 400},
      {"chunk size", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400},
      {"huge chunk", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\n", 413},
      {"space before colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400},
      {"folded field", "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", 400},
      {"bare line feeds", "GET / HTTP/1.1\nHost: a\n\n", 400},
      {"zero byte", std::string("GET / HTTP/1.1\r\nA: b\0c\r\n\r\n", 27), 400},
      {"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400},
      {"version", "GET / HTTP/3.7\r\n\r\n", 400},
      {"unknown expectation", "POST / HTTP/1.1\r\nExpect: tea\r\nContent-Length: 1\r\n\r\na", 417},
      {"endless head", "GET / HTTP/1.1\r\nA: " + std::string(100'000, 'a'), 431},
      {"endless target", "GET /" + std::string(100'000, 'a'), 431},
  };
  for (const Bad& bad : table) {
    for (const std::size_t step : {1u, 1u << 20}) {
      SCOPED_TRACE(std::string(bad.name) + ", step " + std::to_string(step));
      const Seen seen = feed(bad.bytes, step);
      EXPECT_EQ(seen.requests, std::vector<std::string>{});
      EXPECT_EQ(seen.fault, bad.status) << seen.text;
      EXPECT_NE(seen.text, "");
    }
  }
}

TEST(Parser, ALargeBodyIsReceivedWhereItsHeadLeads) {
  struct Rooms final : BodyRoom {
    Buffer room(const Head& head, std::size_t size) override {
      asked.push_back(std::string(head.path()) + " " + std::to_string(size));
      return head.path() == "/full" ? Buffer{} : Buffer(nullptr, memory.data() + 3, memory.size() - 3);
    }
    std::vector<std::string> asked;
    std::vector<std::byte> memory = std::vector<std::byte>(200'000);
  } rooms;
  const std::string body(100'000, 'b');
  const std::string sized = " HTTP/1.1\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  const std::string small = "POST /small HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi";
  for (const std::size_t step : {1000u, 1u << 20}) {
    SCOPED_TRACE(step);
    rooms.asked.clear();
    Parser parser({}, default_pool(), &rooms);
    EXPECT_EQ(feed(parser, "POST /a" + sized, step).requests, std::vector<std::string>{"POST /a " + body});
    EXPECT_EQ(rooms.memory[3 + body.size() - 1], std::byte{'b'});
    rooms.memory.assign(rooms.memory.size(), std::byte{});
    EXPECT_EQ(feed(parser, small + "POST /full" + sized, step).requests,
              (std::vector<std::string>{"POST /small hi", "POST /full " + body}));
    EXPECT_EQ(rooms.memory[3], std::byte{});
    EXPECT_EQ(rooms.asked, (std::vector<std::string>{"/a 100000", "/full 100000"}));
  }
}

TEST(Parser, TooManyFieldsAreRefused) {
  std::string text = "GET / HTTP/1.1\r\n";
  for (int i = 0; i < 257; ++i) text += "A: b\r\n";
  EXPECT_EQ(feed(text + "\r\n").fault, 431);
}

TEST(Parser, ChunksUpToTheLimitPassAndOneMoreIsRefused) {
  const std::string head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
  std::string chunks;
  for (int i = 0; i < 65536; ++i) chunks += "1\r\na\r\n";
  EXPECT_EQ(feed(head + chunks + "0\r\n\r\n").requests.size(), 1u);
  const Seen seen = feed(head + chunks + "1\r\na\r\n0\r\n\r\n");
  EXPECT_EQ(seen.fault, 400);
  EXPECT_EQ(seen.text,
            "Chunked request body exceeds maximum of 65536 non-empty chunks. Send fewer or larger HTTP chunks.");
}

TEST(Parser, AnEndlessTrailerIsRefused) {
  std::string text = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n";
  for (int i = 0; i < 100'000; ++i) text += "A: b\r\n";
  EXPECT_EQ(feed(text, 1000).fault, 431);
}

TEST(Parser, ConnectionsStayOpenAsTheVersionAndTheFieldSay) {
  const auto keeps = [](const std::string& head) {
    Parser parser({}, default_pool());
    feed(parser, head + "\r\n", 1u << 20);
    return parser.head().keep_alive;
  };
  EXPECT_TRUE(keeps("GET / HTTP/1.1\r\n"));
  EXPECT_FALSE(keeps("GET / HTTP/1.1\r\nConnection: close\r\n"));
  EXPECT_FALSE(keeps("GET / HTTP/1.0\r\n"));
  EXPECT_TRUE(keeps("GET / HTTP/1.0\r\nConnection: keep-alive\r\n"));
}

// Law: random damage never crashes, never loses the end of memory, and ends in requests or a fault.
TEST(Parser, RandomDamageIsSurvived) {
  std::mt19937 random(20);
  for (int round = 0; round < 3000; ++round) {
    std::string text = kThree;
    for (int hits = 1 + static_cast<int>(random() % 4); hits > 0; --hits)
      text[random() % text.size()] = static_cast<char>(random());
    feed(text, 1 + random() % 50);
  }
}

}  // namespace
}  // namespace argosy::http1
