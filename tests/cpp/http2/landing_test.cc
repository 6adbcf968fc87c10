#include "http2/landing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace argosy::http2 {
namespace {

constexpr char kEnds = 1, kPadded = 8;

std::string frame(char type, char flags, StreamId stream, std::string_view payload) {
  const std::size_t length = payload.size();
  std::string bytes{static_cast<char>(length >> 16), static_cast<char>(length >> 8), static_cast<char>(length), type,
                    flags};
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(stream >> shift);
  return bytes.append(payload);
}

// Settings, and the acknowledgement that lets the server's own count.
std::string preface() { return "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, "") + frame(4, 1, 0, ""); }
// A POST of "/" at "h".
std::string head(StreamId stream) { return frame(1, 4, stream, "\x83\x86\x84\x01\x01h"); }
std::string data(StreamId stream, std::string_view payload, char flags = 0) { return frame(0, flags, stream, payload); }
std::string padded(StreamId stream, std::string_view payload, std::size_t padding, char flags = 0) {
  return frame(0, static_cast<char>(flags | kPadded), stream,
               static_cast<char>(padding) + std::string(payload) + std::string(padding, '\0'));
}
std::string ping() { return frame(6, 0, 0, "8 octets"); }
std::string reset(StreamId stream) { return frame(3, 0, stream, std::string_view("\0\0\0\x08", 4)); }

std::string noise(std::size_t size, unsigned seed) {
  std::mt19937 random(seed);
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

// Gathers a message of known size as grpc::MessageReader does; bytes in their place are not copied.
struct Gatherer final : StreamEvents {
  void on_header(std::string_view, std::string_view) override {}
  void on_head(bool) override {}
  void on_data(Bytes bytes) override {
    session->consume(id, bytes.size());
    std::byte* const to = buffer.data() + got;
    if (got + bytes.size() > size) {
      overrun = true;
      return;
    }
    if (to != bytes.data()) {
      std::memcpy(to, bytes.data(), bytes.size());
      copied += bytes.size();
    }
    got += bytes.size();
  }
  Buffer unfilled() override { return offers && got < size ? buffer.first(size).from(got) : Buffer(); }
  void on_end() override { ended = true; }
  void on_drained() override {}
  void on_close(ErrorCode) override {
    buffer = gone ? Buffer() : buffer;
    closed = true;
  }
  std::string text() { return {reinterpret_cast<const char*>(buffer.data()), got}; }

  Session* session = nullptr;
  StreamId id = 0;
  Buffer buffer;
  std::size_t size = 0, got = 0, copied = 0;
  bool offers = true, gone = false, ended = false, closed = false, overrun = false;
};

// A server whose socket is a string: each read takes what the places hold, or less.
struct Receiver : SessionEvents {
  explicit Receiver(std::size_t message, std::size_t block = 64u << 10) : size(message), block_size(block) { pull(); }

  StreamEvents* on_stream(StreamId id) override {
    Gatherer& stream = streams[id];
    stream.session = &session;
    stream.id = id;
    stream.size = size;
    stream.buffer = default_pool().allocate(size);
    return &stream;
  }
  void on_ping() override { ++pings; }
  void on_ping_ack() override {}
  void on_data_sent() override {}

  // One read of at most `most` bytes; how many it was.
  std::size_t read(std::string_view& socket, std::size_t most) {
    if (!block || block.capacity() - used < 4096) {
      block = default_pool().allocate(block_size);
      used = 0;
    }
    const auto places = landing.plan(session, block.span().subspan(used));
    EXPECT_LE(places.size(), Landing::kMostPlaces);
    std::size_t count = 0;
    for (const auto place : places) {
      EXPECT_FALSE(place.empty());
      const std::size_t part = std::min({place.size(), most - count, socket.size()});
      std::memcpy(place.data(), socket.data(), part);
      socket.remove_prefix(part);
      count += part;
    }
    const auto landed = landing.receive(session, count, block.from(used), default_pool());
    used += landed.rest_used;
    alive = alive && landed.alive;
    pull();
    return count;
  }
  void pull() {
    std::vector<Bytes> out;
    session.pull(out, 1u << 20);
  }
  void read_all(std::string_view socket, std::size_t most = SIZE_MAX) {
    while (!socket.empty() && alive) {
      read(socket, most);
      ++reads;
    }
  }

  const std::size_t size, block_size;
  std::map<StreamId, Gatherer> streams;
  int pings = 0, reads = 0;
  bool alive = true;
  Session session{{}, *this, default_pool()};
  Landing landing;
  Buffer block;
  std::size_t used = 0;
};

TEST(Landing, AMessageInOneFrameIsCopiedOnlyAsFarAsTheFirstRead) {
  const std::string message = noise(900'000, 1);
  Receiver receiver(message.size());
  receiver.read_all(preface() + head(1) + data(1, message, kEnds));
  EXPECT_TRUE(receiver.streams[1].text() == message);
  EXPECT_LE(receiver.streams[1].copied, receiver.block_size);
  EXPECT_TRUE(receiver.streams[1].ended);
  EXPECT_EQ(receiver.reads, 2);
}

TEST(Landing, ManyFramesAlikeAreReadTogetherIntoTheirPlaces) {
  const std::string message = noise(10'000'000, 2);
  for (const std::size_t length : {16'384u, 65'536u, 1'048'576u}) {
    SCOPED_TRACE(length);
    std::string sent = preface() + head(1);
    for (std::size_t at = 0; at < message.size(); at += length) {
      sent += data(1, std::string_view(message).substr(at, length), at + length >= message.size() ? kEnds : 0);
    }
    Receiver receiver(message.size());
    receiver.read_all(sent);
    EXPECT_TRUE(receiver.streams[1].text() == message);
    EXPECT_TRUE(receiver.streams[1].ended);
    EXPECT_LE(receiver.streams[1].copied, 2 * receiver.block_size);
    EXPECT_LE(receiver.reads, 20);
  }
}

TEST(Landing, ReadsThatEndInsideAHeadGoOn) {
  const std::string message = noise(1'000'000, 3);
  std::string sent = preface() + head(1);
  for (std::size_t at = 0; at < message.size(); at += 16'384) {
    sent += data(1, std::string_view(message).substr(at, 16'384));
  }
  for (const std::size_t most : {16'384u + 4, 3 * 16'393u - 5, 100'001u}) {
    SCOPED_TRACE(most);
    Receiver receiver(message.size());
    receiver.read_all(sent, most);
    EXPECT_TRUE(receiver.streams[1].text() == message);
    EXPECT_LT(receiver.streams[1].copied, message.size() / 4);
  }
}

TEST(Landing, WhatFollowsAMessageInTheSameReadArrives) {
  const std::string message = noise(300'000, 4);
  Receiver receiver(message.size());
  receiver.read_all(preface() + head(1) + data(1, message, kEnds) + ping() + head(3) + data(3, message, kEnds) +
                    ping());
  EXPECT_TRUE(receiver.streams[1].text() == message);
  EXPECT_TRUE(receiver.streams[3].text() == message);
  EXPECT_EQ(receiver.pings, 2);
}

TEST(Landing, AWrongGuessCostsACopyAndNothingElse) {
  const std::string message = noise(200'000, 5);
  const std::string_view text = message;
  // After frames alike: a ping, another stream, a longer and a shorter frame, padding.
  std::string sent = preface() + head(1) + head(3);
  std::size_t at = 0;
  const auto part = [&](std::size_t size) { return text.substr(std::exchange(at, at + size), size); };
  for (int i = 0; i < 5; ++i) sent += data(1, part(8000));
  sent += ping();
  for (int i = 0; i < 3; ++i) sent += data(1, part(8000));
  sent += data(3, text.substr(0, 8000));
  for (int i = 0; i < 4; ++i) sent += data(1, part(8000));
  sent += data(1, part(20'000));
  for (int i = 0; i < 4; ++i) sent += data(1, part(5000));
  sent += data(1, part(4999));
  for (int i = 0; i < 4; ++i) sent += data(1, part(5000));
  sent += padded(1, part(5000), 77);
  sent += data(1, part(8000));
  sent += data(1, text.substr(at), kEnds) + data(3, text.substr(8000), kEnds);
  for (const std::size_t most : {SIZE_MAX, std::size_t{50'000}, std::size_t{9'000}}) {
    SCOPED_TRACE(most);
    Receiver receiver(message.size(), 8192);
    receiver.read_all(sent, most);
    EXPECT_TRUE(receiver.streams[1].text() == message);
    EXPECT_TRUE(receiver.streams[3].text() == message);
    EXPECT_EQ(receiver.pings, 1);
  }
}

TEST(Landing, AStreamWithoutRoomIsReadLikeAnyOther) {
  const std::string message = noise(200'000, 6);
  Receiver receiver(message.size());
  const std::string opening = preface() + head(1);
  receiver.read_all(opening);
  receiver.streams[1].offers = false;
  const std::string rest = data(1, message, kEnds);
  receiver.read_all(rest);
  EXPECT_TRUE(receiver.streams[1].text() == message);
  EXPECT_EQ(receiver.streams[1].copied, message.size());
}

TEST(Landing, AStreamResetInTheMiddleOfItsMessageLeavesTheOthersWhole) {
  const std::string message = noise(400'000, 7);
  const std::string_view text = message;
  std::string sent = preface() + head(1) + head(3);
  for (std::size_t at = 0; at < 200'000; at += 10'000) sent += data(1, text.substr(at, 10'000));
  sent += reset(1);
  sent += data(3, text.substr(0, 100'000)) + data(3, text.substr(100'000), kEnds);
  Receiver receiver(message.size());
  std::string_view socket = sent;
  while (!socket.empty()) {
    receiver.read(socket, 70'000);
    if (receiver.streams[1].got > 50'000) receiver.streams[1].gone = true;  // its memory goes with it
  }
  EXPECT_TRUE(receiver.streams[1].closed);
  EXPECT_TRUE(receiver.streams[3].text() == message);
}

TEST(Landing, AStreamThatWeResetGetsNoMoreBytesInItsMemory) {
  const std::string message = noise(400'000, 8);
  const std::string_view text = message;
  const std::string sent = preface() + head(1) + head(3) + data(1, text.substr(0, 300'000)) +
                           data(1, text.substr(300'000), kEnds) + data(3, message, kEnds);
  Receiver receiver(message.size());
  std::string_view socket = sent;
  receiver.read(socket, 100'000);
  receiver.session.reset(1, ErrorCode::cancel);
  receiver.streams[1].gone = true;
  receiver.pull();
  EXPECT_TRUE(receiver.streams[1].closed);
  const std::size_t got = receiver.streams[1].got;
  receiver.read_all(socket);
  EXPECT_EQ(receiver.streams[1].got, got);
  EXPECT_TRUE(receiver.streams[3].text() == message);
}

// Any frames of any streams, cut anywhere, arrive as they do when all is copied.
TEST(LandingProperty, FramesAndReadsOfAnySizeArriveAsTheyWereSent) {
  for (unsigned seed = 1; seed <= 150; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
    const std::size_t size = 1 + below(seed % 3 == 0 ? 2'000'000 : 150'000);
    const StreamId streams = static_cast<StreamId>(1 + below(4));
    const std::string message = noise(size, seed);
    std::string sent = preface();
    std::vector<std::size_t> at(static_cast<std::size_t>(streams));
    std::vector<bool> alive(at.size(), true);
    for (StreamId i = 0; i < streams; ++i) sent += head(2 * i + 1);
    std::size_t usual = 1 + below(40'000);
    for (std::size_t which = 0; std::any_of(at.begin(), at.end(), [&](std::size_t a) { return a < size; });) {
      if (below(4) == 0) which = below(at.size());
      if (below(10) == 0) usual = 1 + below(40'000);
      if (below(15) == 0) sent += ping();
      const auto id = static_cast<StreamId>(2 * which + 1);
      if (at[which] >= size) {
        which = (which + 1) % at.size();
        continue;
      }
      const std::size_t part = std::min(below(6) == 0 ? below(50'000) + 1 : usual, size - at[which]);
      const std::string_view payload = std::string_view(message).substr(at[which], part);
      const char flags = at[which] + part == size ? kEnds : 0;
      if (alive[which]) sent += below(12) == 0 ? padded(id, payload, below(200), flags) : data(id, payload, flags);
      at[which] += part;
      if (alive[which] && flags == 0 && below(60) == 0) {
        sent += reset(id);
        alive[which] = false;
      }
    }
    Receiver receiver(size, 4096 + below(100'000));
    std::string_view socket = sent;
    const std::size_t usual_read = 1 + below(300'000);
    while (!socket.empty()) receiver.read(socket, below(5) == 0 ? 1 + below(40) : usual_read);
    ASSERT_TRUE(receiver.alive);
    for (std::size_t i = 0; i < at.size(); ++i) {
      Gatherer& stream = receiver.streams[static_cast<StreamId>(2 * i + 1)];
      EXPECT_FALSE(stream.overrun) << i;
      EXPECT_EQ(stream.ended, static_cast<bool>(alive[i])) << i;
      EXPECT_TRUE(stream.text() == std::string_view(message).substr(0, stream.got)) << i;
      EXPECT_TRUE(stream.got == size || !alive[i]) << i;
    }
  }
}

}  // namespace
}  // namespace argosy::http2
