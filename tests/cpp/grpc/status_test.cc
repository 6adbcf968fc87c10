#include "grpc/status.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace argosy::grpc {
namespace {

TEST(GrpcStatus, CodesAreTheProtocols) {
  EXPECT_EQ(to_digits(code_of(StatusCode::ok)), "0");
  EXPECT_EQ(to_digits(code_of(StatusCode::cancelled)), "1");
  EXPECT_EQ(to_digits(code_of(StatusCode::invalid_argument)), "3");
  EXPECT_EQ(to_digits(code_of(StatusCode::deadline_exceeded)), "4");
  EXPECT_EQ(to_digits(code_of(StatusCode::not_found)), "5");
  EXPECT_EQ(to_digits(code_of(StatusCode::already_exists)), "6");
  EXPECT_EQ(to_digits(code_of(StatusCode::resource_exhausted)), "8");
  EXPECT_EQ(to_digits(code_of(StatusCode::unsupported)), "12");
  EXPECT_EQ(to_digits(code_of(StatusCode::internal)), "13");
  EXPECT_EQ(to_digits(code_of(StatusCode::unavailable)), "14");
}

TEST(GrpcStatus, MessagesAreEncodedByteByByte) {
  EXPECT_EQ(percent_encode("plain text, 'quoted'"), "plain text, 'quoted'");
  EXPECT_EQ(percent_encode("100%\n\xc3\xa4"), "100%25%0A%C3%A4");
  EXPECT_EQ(percent_decode("100%25%0a%C3%A4"), "100%\n\xc3\xa4");
}

TEST(GrpcStatus, WhatIsNoEncodingIsKeptAsItIs) {
  EXPECT_EQ(percent_decode("5% of%"), "5% of%");
  EXPECT_EQ(percent_decode("%4"), "%4");
  EXPECT_EQ(percent_decode("%zz%41"), "%zzA");
}

TEST(GrpcStatus, AMessageOfUsualLengthIsWhole) {
  const std::string text = "ValueError: 100% \n" + std::string(5000, 'x');
  EXPECT_EQ(percent_decode(message_value(text)), text);
}

TEST(GrpcStatus, ALongMessageKeepsItsBeginningAndItsEndAndFitsIntoTheHeaders) {
  for (const std::string& unit :
       {std::string("x"), std::string("\n"), std::string("\xc3\xa4"), std::string("\xf0\x9f\x98\x80")}) {
    std::string text = "begin ";
    for (int i = 0; i < 100'000; ++i) text += unit;
    text += " end";
    const std::string value = message_value(text);
    EXPECT_LE(value.size(), kLongestMessage);
    EXPECT_GT(value.size(), kLongestMessage * 8 / 10);
    const std::string read = percent_decode(value);
    EXPECT_TRUE(read.starts_with("begin " + unit));
    EXPECT_TRUE(read.ends_with(unit + " end"));
    const std::size_t mark = read.find(" ... ");
    ASSERT_NE(mark, std::string::npos);
    EXPECT_EQ((mark - 6) % unit.size(), 0u) << "a character was cut";
    const std::size_t after = read.find(" bytes more ... ") + 16;
    EXPECT_EQ((read.size() - 4 - after) % unit.size(), 0u) << "a character was cut";
    EXPECT_EQ(std::stoul(read.substr(mark + 5)), text.size() - mark - (read.size() - after));
  }
}

TEST(GrpcStatusProperty, DecodingUndoesEncoding) {
  std::mt19937 random(1);
  for (int i = 0; i < 500; ++i) {
    std::string text(random() % 60, '\0');
    for (char& c : text) c = static_cast<char>(random());
    EXPECT_EQ(percent_decode(percent_encode(text)), text);
  }
}

}  // namespace
}  // namespace argosy::grpc
