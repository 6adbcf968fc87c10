#include "kserve/compress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace argosy::kserve {
namespace {

using ::testing::HasSubstr;

Gather gather_of(std::vector<std::string> texts) {
  Gather out;
  for (auto& text : texts) out.add(Bytes::take(std::move(text)));
  return out;
}

// The law: what was compressed, in any pieces, comes back whole, read in any pieces.
TEST(Compress, WhatWasDeflatedInflatesToTheSame) {
  std::mt19937 random(5);
  for (const Coding coding : {Coding::gzip, Coding::deflate}) {
    for (const std::size_t size : {0u, 1u, 1000u, 300000u}) {
      std::string noise(size, ' ');
      for (auto& c : noise) c = static_cast<char>(random() % 40);
      const Gather plain = gather_of({"head", noise, "tail"});
      const auto packed = deflate_body(plain, coding, default_pool());
      ASSERT_TRUE(packed.ok());
      const auto back = inflate_body(Bytes::take(packed->joined()), size + 8);
      ASSERT_TRUE(back.ok()) << back.status().message();
      EXPECT_EQ(back->view(), plain.joined());
      Inflater inflater(size + 8);
      std::string slowly;
      for (const char c : packed->joined()) {
        ASSERT_TRUE(inflater.add(std::as_bytes(std::span(&c, 1)), slowly).ok());
      }
      EXPECT_TRUE(inflater.finish().ok());
      EXPECT_EQ(slowly, plain.joined());
    }
  }
}

TEST(Compress, ABodyNeverYieldsMoreThanItsLimit) {
  const auto bomb = deflate_body(gather_of({std::string(10 << 20, '0')}), Coding::gzip, default_pool());
  const auto back = inflate_body(Bytes::take(bomb->joined()), 1000);
  EXPECT_THAT(back.status().message(),
              HasSubstr("Decompressed data size exceeds the maximum allowed value of 1000 bytes."));
}

TEST(Compress, BrokenBodiesAreErrors) {
  const std::string whole = deflate_body(gather_of({"some text"}), Coding::gzip, default_pool())->joined();
  EXPECT_THAT(inflate_body(Bytes::copy_of(whole.substr(0, whole.size() - 3)), 100).status().message(),
              HasSubstr("ends before"));
  EXPECT_EQ(inflate_body(Bytes(), 100).status().message(), "nothing to be decompressed");
  EXPECT_FALSE(inflate_body(Bytes::copy_of(std::string_view("plain text")), 100).ok());
}

TEST(Compress, ChoosesTheHeaviestCodingAndTheFirstOfEquals) {
  EXPECT_EQ(choose_coding(""), Coding::identity);
  EXPECT_EQ(choose_coding("gzip"), Coding::gzip);
  EXPECT_EQ(choose_coding("deflate, gzip"), Coding::deflate);
  EXPECT_EQ(choose_coding("deflate;q=0.5, gzip;q=0.8, br"), Coding::gzip);
  EXPECT_EQ(choose_coding("identity, gzip;q=0.9"), Coding::identity);
  EXPECT_EQ(choose_coding("gzip;q=0"), Coding::identity);
  EXPECT_EQ(choose_coding("br, zstd"), Coding::identity);
  EXPECT_EQ(parse_content_encoding(" GZip "), Coding::gzip);
  EXPECT_FALSE(parse_content_encoding("br"));
}

}  // namespace
}  // namespace argosy::kserve
